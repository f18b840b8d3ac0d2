"""In which shares the inputs of a training are clean or compressed, and how strongly: for files and for their likeness.

`accelir.training.data` draws by these numbers picture by picture, `accelir.training.lossy` a whole batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["MIXTURE", "NOISY_MIXTURE", "Mixture"]


@dataclass(frozen=True)
class Mixture:
    """What is drawn of an input's compression; pairs are ranges in which it is uniform.

    Attributes:
        qualities: Of Pillow's JPEG; the upper end is left out.
        steps: Of a JPEG in our manner: base quantisation step, uniform in its logarithm.
        tilts: Power of (1 + frequency / 2) by which steps grow.
        clean: Share of inputs that stay as they are.
        usual: Share that goes through Pillow's JPEG.
        usual_halved: Share of these with chroma at half size.
        halved: The same share of a JPEG in our manner.
        chroma_steps: Chroma's quantisation steps over luma's.
        dead: By how much less than a half numbers are rounded away from zero.
        dead_spread: Standard deviation of that among the blocks of a picture.
        most_dead: Its upper end in any block; the lower one is 0.
    """

    qualities: tuple[int, int]
    steps: tuple[float, float]
    tilts: tuple[float, float]
    clean: float = 0.25
    usual: float = 0.375
    usual_halved: float = 0.85
    halved: float = 0.8
    chroma_steps: tuple[float, float] = (0.8, 1.6)
    dead: tuple[float, float] = (0.0, 0.25)
    dead_spread: tuple[float, float] = (0.0, 0.12)
    most_dead: float = 0.4

    def with_clean(self, clean: float) -> Mixture:
        """The same, but for the share that stays as it is."""
        return replace(self, clean=clean, usual=self.usual * (1 - clean) / (1 - self.clean))


MIXTURE = Mixture(qualities=(30, 96), steps=(5, 36), tilts=(-0.5, 0.15))
NOISY_MIXTURE = Mixture(qualities=(5, 60), steps=(18, 90), tilts=(-0.1, 0.9))
"""For noisy pictures, which are stored at lower qualities."""
