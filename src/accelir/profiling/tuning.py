"""Tuning: which of a codec's options restore best, at the sizes that matter to a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.bracket import Bracket
from accelir.codec import Codec, Encoded, Prepared, Sensitivity
from accelir.errors import InvalidInputError
from accelir.image import ImageArray
from accelir.metrics import EQUAL, psnr_rgb
from accelir.network import IRNetwork
from accelir.variants import least_costly

__all__ = ["Example", "best_start", "best_tuning", "middling_sizes"]

SHARES = (0.5, 0.7, 0.85, 0.93)
"""Of the way from the restored PSNR of the coarsest files to that of the finest: where options are compared."""

CURVE = 8
"""Files by which the sizes of these points are found."""

WRITES = 10
"""Files written to come near a size, at most."""

ROUND = 3
"""Pictures after which what has fallen behind is given up for the first time."""

FEWEST = 3
"""Sets of options that are left to compare on all pictures."""

TURNS = 2
"""How often each option of the search space has its turn, at most."""

BEHIND = 0.02
"""dB that a value may be behind after the first pictures, and still be tried on the others."""

WORTH = 0.002
"""dB by which a value is better, or it is not taken."""

NEAR = 0.01
"""Logarithm of a size over the wanted one at which a file is near enough."""

Tell = Callable[[int, int, str], None]
Options = dict[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Example:
    """A picture to tune on.

    Attributes:
        reference: uint8 (H, W, 3) or (H, W), clean.
        image: uint8: what the network gets, H and W divided by the task's scale.
        sensitivity: From a codec to what it is to go by: float32 (rows, cols, K), or None.
        sizes: float64: logarithms of the sizes in bytes at which to compare; None for `middling_sizes`.
    """

    reference: ImageArray
    image: ImageArray
    sensitivity: Callable[[Codec], Sensitivity | None]
    sizes: Floats | None = None


def middling_sizes(codec: Codec, network: IRNetwork, example: Example) -> Floats:
    """Logarithms of the sizes at which the restored PSNR has come half of its way and more.

    Below, no network helps; above, nothing is left to gain.
    """
    return _middling(*_curve(codec, network, example))


def best_start(
    codec: Codec, network: IRNetwork, examples: Sequence[Example], tell: Tell, starts: Sequence[Options]
) -> Options:
    """The one of some sets of options whose files restore best, compared at equal sizes.

    Those that fall behind are given up early (successive halving). Only a fine control brings files to one size;
    without it the first is kept.

    Args:
        codec: What to tune; what its caller chose stays.
        network: Restores.
        examples: To measure on.
        tell: Told (done, total, what).
        starts: At least one.
    """
    distinct = _distinct(codec, starts)
    if not examples or not codec.fine_control or len(distinct) < 2:
        return distinct[0]
    return _halve(codec, distinct, _Course(codec.tuned(distinct[0]), network, examples, tell))[0]


def best_tuning(
    codec: Codec, network: IRNetwork, examples: Sequence[Example], tell: Tell, starts: Sequence[Options]
) -> Options:
    """From the best of some sets of options on, each option of `Codec.search_space` takes its best value.

    One takes it after the other, and once more if anything moved.

    Args:
        codec: As for `best_start`.
        network: Restores.
        examples: To measure on.
        tell: Told (done, total, what).
        starts: At least one.
    """
    distinct = _distinct(codec, starts)
    if not examples or not codec.fine_control or (len(distinct) < 2 and not codec.search_space):
        return distinct[0]
    course = _Course(codec.tuned(distinct[0]), network, examples, tell)
    best, gains = _halve(codec, distinct, course)
    return _climb(codec, best, gains, course, {_key(codec.tuned(options)) for options in distinct})


def _distinct(codec: Codec, starts: Sequence[Options]) -> list[Options]:
    """Those that differ, with what the caller chose."""
    found: dict[str, Options] = {}
    for options in starts:
        found.setdefault(_key(codec.tuned(options)), dict(options))
    return list(found.values())


class _Course:
    """The examples, with the sizes and the curves that options are held against."""

    def __init__(self, usual: Codec, network: IRNetwork, examples: Sequence[Example], tell: Tell) -> None:
        self.tell = tell
        self._usual, self._network, self._examples = usual, network, examples
        self._curves: dict[int, tuple[Floats, Floats]] = {}

    def __len__(self) -> int:
        return len(self._examples)

    def opens(self, codec: Codec) -> bool:
        """Whether a codec has several ways to store these pictures."""
        return any(len(codec.variants(example.image)) > 1 for example in self._examples)

    def gain(self, number: int, codec: Codec) -> float:
        """Mean of the restored PSNR over the usual curve on one example, in dB, at the sizes that matter."""
        example, network = self._examples[number], self._network
        if number not in self._curves:
            self._curves[number] = _curve(self._usual, network, example)
        sizes, scores = self._curves[number]
        wanted = _middling(sizes, scores) if example.sizes is None else example.sizes
        ways = [
            (way, sensitivity, way.prepare(example.image, sensitivity=sensitivity))
            for way, sensitivity in ((way, example.sensitivity(way)) for way in codec.variants(example.image))
        ]
        gained = 0.0
        for size in wanted:
            files = [
                (way, sensitivity, _near_size(prepared, size, len(way.levels), way.trim_slope))
                for way, sensitivity, prepared in ways
            ]
            encoded = files[least_costly(files, example.image)][2]
            score = _score(codec, network, encoded.data, example)
            # Held against the curve at this very size; what is wrong with the curve is so for all options.
            gained += score - float(np.interp(np.log(len(encoded.data)), sizes, scores))
        return gained / len(wanted)


def _halve(codec: Codec, starts: Sequence[Options], course: _Course) -> tuple[Options, Floats]:
    """The best, and its gain on each example."""
    variants = [codec.tuned(options) for options in starts]
    gains = np.zeros((len(variants), len(course)))
    left = np.arange(len(variants))
    for number in range(len(course)):
        course.tell(number, len(course), "comparing options")
        if number % ROUND == 0 and number and len(left) > FEWEST:
            ranking = np.argsort([-_middle(gains[index, :number]) for index in left], kind="stable")
            left = left[np.sort(ranking[: max(FEWEST, len(left) // 2)])]
        for index in left:
            gains[index, number] = course.gain(number, variants[index])
    best = left[np.argmax([_middle(gains[index]) for index in left])]
    return starts[best], gains[best]


def _climb(codec: Codec, options: Options, gains: Floats, course: _Course, tried: set[str]) -> Options:
    """Coordinate search: each option in turn takes the value that is best with what the others are."""
    total = TURNS * sum(len(values) for values in codec.search_space.values())
    done = 0
    for _ in range(TURNS):
        before = options
        for name, values in codec.search_space.items():
            for value in values:
                course.tell(done, total, "searching options")
                done += 1
                candidate = {**options, name: value}
                try:
                    variant = codec.tuned(candidate)
                except InvalidInputError:
                    # Not all values go together.
                    continue
                if _key(variant) in tried:
                    continue
                tried.add(_key(variant))
                found = _better(variant, gains, course)
                if found is not None:
                    options, gains = candidate, found
        if options == before:
            break
    return options


def _better(variant: Codec, gains: Floats, course: _Course) -> Floats | None:
    """The gains of a variant where they are better than those that are known; given up where it falls behind."""
    own = np.zeros(len(course))
    for number in range(len(course)):
        if number == ROUND and (own[:number] == gains[:number]).all() and not course.opens(variant):
            # The same files: this value changes nothing. But where it leaves a choice open, it may for other pictures.
            return None
        if number and number % ROUND == 0:
            ahead = own[:number] - gains[:number]
            # Where pictures differ much, as with networks that find a blur in one file and not in another, few tell
            # little.
            doubt = float(ahead.std(ddof=1)) / number**0.5
            if _middle(ahead) < -max(BEHIND if number == ROUND else 0.0, doubt):
                return None
        own[number] = course.gain(number, variant)
    return own if _middle(own - gains) > WORTH else None


def _key(codec: Codec) -> str:
    return codec.options.model_dump_json()


def _middle(gains: Floats) -> float:
    """The mean of the middle half: on a flat picture a small file can win or lose a decibel."""
    count = len(gains)
    return float(np.sort(gains)[count // 4 : count - count // 4].mean())


def _curve(codec: Codec, network: IRNetwork, example: Example) -> tuple[Floats, Floats]:
    """Logarithms of sizes, and the restored PSNR made rising."""
    prepared = codec.prepare(example.image, sensitivity=example.sensitivity(codec))
    points = {}
    for level in np.linspace(0, len(codec.levels) - 1, CURVE).round().astype(int).tolist():
        data = prepared.write(level).data
        points[len(data)] = _score(codec, network, data, example)
    sizes = sorted(points)
    return np.log(sizes), np.maximum.accumulate([points[size] for size in sizes])


def _score(codec: Codec, network: IRNetwork, data: bytes, example: Example) -> float:
    """Of the restored file, in dB; a flat crop may come back just as it was."""
    return min(psnr_rgb(network.restore(codec.decode(data)), example.reference), EQUAL)


def _middling(sizes: Floats, scores: Floats) -> Floats:
    return np.interp(scores[0] + np.array(SHARES) * (scores[-1] - scores[0]), scores, sizes)


def _near_size(prepared: Prepared, size: float, levels: int, slope: float) -> Encoded:
    """The file whose size is nearest to a wanted one (as a logarithm), by trimming the middle level."""
    bracket, trim = Bracket(), 0.0
    files = []
    for _ in range(WRITES):
        encoded = prepared.write(levels // 2, trim)
        gap = float(np.log(len(encoded.data)) - size)
        files.append((abs(gap), encoded))
        trim = bracket.add(trim, gap, slope)
        if abs(gap) < NEAR or bracket.closed:
            break
    return min(files, key=lambda file: file[0])[1]
