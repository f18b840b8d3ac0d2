"""Training batches made where the network trains: photographs stay on the device, and so do crops, noise and blur.

For GPUs that would wait for processors to cut, blur and compress crops one by one. Here the whole batch is drawn at
once: `ResidentPairs` is a source for `accelir.training.recipe.train` as
`accelir.training.data.Pairs` and `accelir.training.shake.ShakePairs` are, and draws the same mixture as those.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from accelir.errors import InvalidInputError
from accelir.image import ImageArray
from accelir.tasks import Deblur, Denoise, SuperResolution, Task, camera_shake_kernel
from accelir.training.data import Batch
from accelir.training.lossy import compressed_randomly
from accelir.training.mixture import MIXTURE, NOISY_MIXTURE
from accelir.training.shake import SHARP, UNNAMED, ShakePairs, lights_left, require_shares

__all__ = ["ResidentPairs"]

MARGIN = ShakePairs.margin

GRID = 16
"""Side of a JPEG's coding unit: crops lie anywhere in it."""

TRAJECTORIES = 4096
"""Camera trajectories that stand for all that may come."""


class _Place(NamedTuple):
    """Which crops, and how they are turned: int64 or bool (N,) each."""

    picture: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    swapped: torch.Tensor
    upside: torch.Tensor
    mirrored: torch.Tensor


class _Pictures:
    """Pictures of any sizes on a device as one row of pixels."""

    def __init__(self, pictures: Sequence[ImageArray], device: str | torch.device) -> None:
        self.pixels = torch.cat([torch.tensor(picture.reshape(-1, 3)) for picture in pictures]).to(device)
        sizes = torch.tensor([picture.shape[:2] for picture in pictures])
        self.heights, self.widths = sizes.T.to(device)
        counts = sizes.prod(dim=1)
        self.starts = (counts.cumsum(0) - counts).to(device)
        self._large: dict[int, torch.Tensor] = {}

    def at_least(self, side: int) -> torch.Tensor:
        """The numbers of the pictures of so many pixels a side."""
        if side not in self._large:
            smallest = torch.minimum(self.heights, self.widths)
            self._large[side] = (smallest >= side).nonzero()[:, 0]
        return self._large[side]

    def crops(self, place: _Place, side: int) -> torch.Tensor:
        """Square crops, uint8 (N, side, side, 3)."""
        along = torch.arange(side, device=self.pixels.device)
        rows = torch.where(place.upside[:, None], side - 1 - along, along)[:, :, None]
        columns = torch.where(place.mirrored[:, None], side - 1 - along, along)[:, None]
        swapped = place.swapped[:, None, None]
        y, x = torch.where(swapped, columns, rows), torch.where(swapped, rows, columns)
        return self.pixels[self._numbers(place, y, x)]

    def texture(self, place: _Place, side: int) -> torch.Tensor:
        """How much a crop's green differs from pixel to pixel, at half the resolution: (N,)."""
        along = torch.arange(0, side, 2, device=self.pixels.device)
        green = self.pixels[self._numbers(place, along[None, :, None], along[None, None]), 1].float()
        return green.diff(dim=1).abs().mean((1, 2)) + green.diff(dim=2).abs().mean((1, 2))

    def _numbers(self, place: _Place, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        corner = self.starts[place.picture] + place.top * self.widths[place.picture] + place.left
        return corner[:, None, None] + y * self.widths[place.picture][:, None, None] + x


class ResidentPairs:
    """A source of training batches as tensors on a device; `accelir.training.recipe.train` draws them with 0 drawers.

    Args:
        photographs: Sharp and clean, uint8 (H, W, 3) each.
        task: `SuperResolution`, `Denoise` or `Deblur`.
        device: Any torch device.
        kernels: For deblurring: float32 (h, w), odd sides up to 49, each summing to 1.
        compressed: Share of the inputs that go through JPEG's loss, a quarter of which it leaves clean; None for 0.6
            in deblurring and else all.
        lights: For deblurring: share of the references that carry point lights at first; see
            `accelir.training.shake.ShakePairs`.
        opening: For deblurring: share of the training after which compressed inputs and trajectories join.
        unseen: For deblurring: share of the blurred inputs that one of 4096 random camera trajectories blurs from there
            on.
        sharp: For deblurring: share of the inputs that nothing blurs.

    Raises:
        InvalidInputError: Another task, no photograph or a gray one, a share that is none, or for deblurring no kernel
            or one that is too large.
    """

    def __init__(
        self,
        photographs: Sequence[ImageArray],
        task: Task,
        *,
        device: str | torch.device,
        kernels: Sequence[npt.NDArray[np.float32]] = (),
        compressed: float | None = None,
        lights: float = 0.7,
        opening: float = 0.6,
        unseen: float = 0.5,
        sharp: float = 0.1,
    ) -> None:
        # A derived task may make its inputs in a way of its own.
        if type(task) not in (SuperResolution, Denoise, Deblur):
            raise InvalidInputError(f"Batches of {task.name} are not made on a device; train on Pairs.")
        if not photographs or (isinstance(task, Deblur) and not kernels):
            raise InvalidInputError("Training takes photographs, and against blur kernels too.")
        if any(photograph.ndim != 3 for photograph in photographs):
            raise InvalidInputError("Photographs to train on have three channels.")
        if compressed is None:
            compressed = 0.6 if isinstance(task, Deblur) else 1.0
        require_shares(lights=lights, opening=opening, compressed=compressed, unseen=unseen, sharp=sharp)
        self.task = task
        self.device = torch.device(device)
        self.compressed, self.lights, self.opening, self.unseen = compressed, lights, opening, unseen
        self._mixture = NOISY_MIXTURE if isinstance(task, Denoise) else MIXTURE
        clean = [task.crop(photograph) for photograph in photographs]
        self._references = _Pictures(clean, device)
        self._inputs = self._references
        if isinstance(task, SuperResolution):
            random = np.random.default_rng(0)
            self._inputs = _Pictures([task.degrade(picture, random) for picture in clean], device)
        self._named = len(kernels)
        if isinstance(task, Deblur):
            trajectories = _trajectories(tuple(task.extent)) if opening < 1 and unseen else []
            self._kernels = _centred([*kernels, *trajectories, SHARP]).to(device)
            self.sharp = sharp

    def batch(self, rng: np.random.Generator, count: int, patch: int, progress: float = 0.0) -> Batch:
        """Draw a batch: as `accelir.training.data.Source.batch`, but uint8 tensors on the device.

        Raises:
            InvalidInputError: No photograph is so large.
        """
        random = torch.Generator(self.device)
        random.manual_seed(int(rng.integers(2**62)))
        scale, outer = self.task.scale, -(-patch // GRID) * GRID + GRID
        if isinstance(self.task, Deblur):
            inputs, references, labels = self._blurred(self.task.noise, count, outer, progress, random)
        else:
            labels = None
            place = self._places(count, outer, random)
            inputs = self._inputs.crops(place, outer)
            larger = place._replace(top=place.top * scale, left=place.left * scale)
            references = inputs if self._inputs is self._references else self._references.crops(larger, outer * scale)
            if isinstance(self.task, Denoise):
                inputs = self._noisy(inputs, self.task.sigma, random)
        if self.compressed and (not isinstance(self.task, Deblur) or progress >= self.opening):
            lost = compressed_randomly(inputs, self._mixture, random)
            inputs = torch.where(self._share(self.compressed, count, random)[:, None, None, None], lost, inputs)
        # Blocks of a file begin anywhere in a crop.
        top, left = (int(start) for start in rng.integers(outer - patch + 1, size=2))
        inputs = inputs[:, top : top + patch, left : left + patch]
        rows, columns = (slice(start * scale, (start + patch) * scale) for start in (top, left))
        return Batch(inputs, references[:, rows, columns], labels)

    def _blurred(
        self, sigma: float, count: int, side: int, progress: float, random: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        whole = side + 2 * MARGIN
        references = self._references.crops(self._places(count, whole, random), whole)
        if self.lights:
            share = self._share(lights_left(self.lights, self.opening, progress), count, random)
            references = torch.where(share[:, None, None, None], _with_point_lights(references, random), references)
        labels = torch.randint(self._named, (count,), generator=random, device=self.device)
        last = len(self._kernels) - 1
        if progress >= self.opening and last > self._named:
            others = torch.randint(self._named, last, (count,), generator=random, device=self.device)
            labels = torch.where(self._share(self.unseen, count, random), others, labels)
        if self.sharp:
            labels = torch.where(self._share(self.sharp, count, random), last, labels)
        spectra = torch.fft.rfft2(self._kernels[labels], s=(whole, whole))
        # The kernels' middle comes to the origin; what wraps around stays in the margin.
        shifts = torch.arange(whole, device=self.device) * (2 * torch.pi * MARGIN / whole)
        phase = torch.polar(torch.ones_like(shifts), shifts)
        spectra = spectra * phase[:, None] * phase[None, : whole // 2 + 1]
        planes = torch.fft.rfft2(references.permute(0, 3, 1, 2).float())
        blurred = torch.fft.irfft2(planes * spectra[:, None], s=(whole, whole)).permute(0, 2, 3, 1)
        inner = slice(MARGIN, MARGIN + side)
        noisy = self._noisy(blurred[:, inner, inner], (sigma, sigma), random)
        return noisy, references[:, inner, inner], torch.where(labels < self._named, labels, UNNAMED)

    def _places(self, count: int, side: int, random: torch.Generator) -> _Place:
        """Of two random crops of a photograph the one with more texture."""
        large = self._inputs.at_least(side)
        if not len(large):
            raise InvalidInputError(f"No photograph holds {side * self.task.scale} pixels a side, which crops take.")
        picture = large[torch.randint(len(large), (count,), generator=random, device=self.device)].repeat(2)
        tops = self._drawn(self._inputs.heights[picture] - side + 1, random)
        lefts = self._drawn(self._inputs.widths[picture] - side + 1, random)
        turns = torch.rand(3, 2 * count, generator=random, device=self.device) < 0.5
        both = _Place(picture, tops, lefts, *turns)
        first, second = self._inputs.texture(both, side).view(2, count)
        chosen = torch.arange(count, device=self.device) + count * (second > first)
        return _Place(*(part[chosen] for part in both))

    def _drawn(self, below: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Whole numbers from 0 on, each below its own bound."""
        return torch.minimum((torch.rand(len(below), generator=random, device=self.device) * below).long(), below - 1)

    def _share(self, share: float, count: int, random: torch.Generator) -> torch.Tensor:
        return torch.rand(count, generator=random, device=self.device) < share

    def _noisy(self, pictures: torch.Tensor, sigma: tuple[float, float], random: torch.Generator) -> torch.Tensor:
        low, high = sigma
        sigmas = low + (high - low) * torch.rand(len(pictures), generator=random, device=self.device)
        noise = torch.randn(pictures.shape, generator=random, device=self.device)
        return (pictures + sigmas[:, None, None, None] * noise).round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=1)
def _trajectories(extent: tuple[float, float]) -> list[npt.NDArray[np.float32]]:
    # A stream of its own: small seeds are those of measurements.
    random = np.random.default_rng([TRAJECTORIES, 1])
    return [camera_shake_kernel(random, extent) for _ in range(TRAJECTORIES)]


def _centred(kernels: Sequence[npt.NDArray[np.float32]]) -> torch.Tensor:
    """Kernels of odd sides in the middle of squares: float32 (N, 49, 49)."""
    side = 2 * MARGIN + 1
    squares = torch.zeros(len(kernels), side, side)
    for square, kernel in zip(squares, kernels, strict=True):
        height, width = kernel.shape
        if max(height, width) > side:
            raise InvalidInputError(f"Blur kernels reach up to {side} pixels a side; got {height}x{width}.")
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = torch.from_numpy(kernel)
    return squares


def _with_point_lights(references: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Copies with 5 to 89 single pixels set: black and white, or colours; some of them two pixels high."""
    count, height, width, _ = references.shape
    device, most = references.device, 89

    def below(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=random, device=device)

    number = torch.arange(count, device=device)[:, None]
    rows, columns = below(height - 1, count, most), below(width, count, most)
    gray = 255 * below(2, count, most, 1).expand(-1, -1, 3)
    colours = torch.where(below(2, count, 1, 1) == 0, gray, below(256, count, most, 3)).to(torch.uint8)
    # Those beyond a picture's own number are its first once more.
    lit = torch.arange(most, device=device) < 5 + below(most - 4, count, 1)
    rows, columns = (torch.where(lit, places, places[:, :1]) for places in (rows, columns))
    colours = torch.where(lit[:, :, None], colours, colours[:, :1])
    tall = lit & (torch.rand(count, most, generator=random, device=device) < 0.4)
    made = references.clone()
    made[number, rows, columns] = colours
    made[number, rows + tall, columns] = colours
    return made
