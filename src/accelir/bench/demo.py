"""The demo: a light network on an accelir file against a heavy one on an ordinary JPEG, measured on the spot."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from accelir import lookup, pipeline, registry
from accelir.allocation.budget import Bytes
from accelir.bench.measure import make_input
from accelir.codec import Codec, Encoded
from accelir.errors import AccelIRError, MissingDependencyError, ProfileNotFoundError, UnknownNameError
from accelir.image import ImageArray, as_image_array
from accelir.metrics import psnr_rgb
from accelir.network import IRNetwork
from accelir.profiling.estimate import Estimate
from accelir.profiling.sensitivity import measure_sensitivity

__all__ = ["ARMS", "Arm", "Comparison", "Photograph", "Shown", "finding", "run_demo"]

SHOWS = (("edsr-x4", 75), ("dncnn-s25", 20))
"""Network family and quality of the ordinary JPEG."""

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
"""What scikit-learn ships."""

ARMS = (("heavy", "ordinary"), ("light", "ordinary"), ("light", "accelir"), ("heavy", "accelir"))
"""(network, file)."""

LARGEST = 1024
"""Side in pixels of the middle part that is taken of a larger picture of one's own."""

EQUAL = 0.05
"""dB within which two restored qualities are called equal."""

Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Arm:
    """One network on one file of one photograph.

    Attributes:
        role: ``"heavy"`` or ``"light"``.
        network: Its name.
        file: ``"ordinary"`` or ``"accelir"``.
        size: Of the file, in bytes.
        psnr: Of the restored picture, in dB (RGB, 0..255, no border).
        flops: Of restoring this picture.
        seconds: That restoring it took here: the faster of two runs.
        restored: uint8 (H, W, 3).
    """

    role: str
    network: str
    file: str
    size: int
    psnr: float
    flops: int
    seconds: float
    restored: ImageArray


@dataclass(frozen=True)
class Photograph:
    """One photograph's part of a comparison.

    Attributes:
        name: Of the photograph.
        reference: The clean original, uint8 (H, W, 3).
        ordinary: Decoded pixels of the ordinary file.
        encoded: The accelir file for the light network.
        estimate: What that was encoded by.
        arms: In the order of `ARMS`.
    """

    name: str
    reference: ImageArray
    ordinary: ImageArray
    encoded: Encoded
    estimate: Estimate
    arms: tuple[Arm, ...]

    def arm(self, role: str, file: str) -> Arm:
        """The arm of a network and a file."""
        return next(arm for arm in self.arms if (arm.role, arm.file) == (role, file))


@dataclass(frozen=True)
class Comparison:
    """A task of the demo.

    Attributes:
        task: Its name.
        scale: Output side over input side.
        quality: Of the ordinary JPEG.
        heavy: Name of the heavy network.
        light: Name of the light network.
        photographs: One or more.
    """

    task: str
    scale: int
    quality: int
    heavy: str
    light: str
    photographs: tuple[Photograph, ...]

    def mean_psnr(self, role: str, file: str) -> float:
        """Mean restored PSNR over the photographs in dB."""
        return float(np.mean([photograph.arm(role, file).psnr for photograph in self.photographs]))


@dataclass(frozen=True)
class Shown:
    """What the demo measured, and where its picture is.

    Attributes:
        comparisons: One for each task that could be shown.
        skipped: One sentence for each that could not.
        picture: The page that was written.
    """

    comparisons: tuple[Comparison, ...]
    skipped: tuple[str, ...]
    picture: Path


def run_demo(
    output: str | Path = "accelir-demo.png",
    *,
    image: str | Path | None = None,
    seed: int = 0,
    progress: Tell | None = None,
) -> Shown:
    """Measure what there is to see, and draw it.

    Args:
        output: The page to write, a PNG.
        image: A clean photograph of one's own (the middle of a large one is taken); None for the two that
            scikit-learn ships.
        seed: Of the noise.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UnknownNameError: No network of the demo's families is installed.
        MissingDependencyError: There is no photograph, as scikit-learn is missing.
        DecodeError: ``image`` cannot be read.
    """
    from accelir.bench.poster import draw_poster

    tell = progress or (lambda done, total, what: None)
    photographs = _photographs(image)
    comparisons, skipped = [], []
    for index, (family, quality) in enumerate(SHOWS):
        start, total = index * len(photographs), len(SHOWS) * len(photographs)
        try:
            heavy, light = _pair(family)
            comparisons.append(_compare(heavy, light, quality, photographs, seed, tell, start, total))
        except AccelIRError as error:
            skipped.append(f"{family} is left out: {error}")
    tell(len(SHOWS) * len(photographs), len(SHOWS) * len(photographs), "drawing")
    if not comparisons:
        raise UnknownNameError(" ".join(skipped))
    return Shown(tuple(comparisons), tuple(skipped), draw_poster(comparisons, output))


def finding(comparison: Comparison) -> str:
    """What a comparison showed, in one sentence made from its numbers."""
    ours = comparison.mean_psnr("light", "accelir")
    over_heavy = ours - comparison.mean_psnr("heavy", "ordinary")
    over_light = ours - comparison.mean_psnr("light", "ordinary")
    pairs = [(each.arm("light", "accelir"), each.arm("heavy", "ordinary")) for each in comparison.photographs]
    fewer = 100 * (1 - sum(light.flops for light, _ in pairs) / sum(heavy.flops for _, heavy in pairs))
    sizes = [light.size <= heavy.size for light, heavy in pairs]
    size = "At no more bytes" if all(sizes) else "At about the same bytes"
    if over_heavy > EQUAL:
        verdict = f"beats {comparison.heavy} on the ordinary JPEG by {over_heavy:.2f} dB"
    elif over_heavy >= -EQUAL:
        verdict = f"equals {comparison.heavy} on the ordinary JPEG ({over_heavy:+.2f} dB)"
    else:
        verdict = f"does not reach {comparison.heavy} on the ordinary JPEG ({over_heavy:+.2f} dB)"
    return (
        f"{size}, {comparison.light} on the accelir file {verdict} with {fewer:.0f} % fewer FLOPs. Over "
        f"{comparison.light} on the ordinary JPEG that is {over_light:+.2f} dB."
    )


def _compare(
    heavy: IRNetwork,
    light: IRNetwork,
    quality: int,
    photographs: Sequence[tuple[str, ImageArray]],
    seed: int,
    tell: Tell,
    start: int,
    total: int,
) -> Comparison:
    codec = registry.codec("jpeg")
    measured = []
    for number, (name, photograph) in enumerate(photographs):
        tell(start + number, total, f"{light.task.name}: {name}")
        measured.append(_measure(codec, heavy, light, quality, name, photograph, seed + number))
    return Comparison(light.task.name, light.task.scale, quality, heavy.name, light.name, tuple(measured))


def _measure(
    codec: Codec, heavy: IRNetwork, light: IRNetwork, quality: int, name: str, photograph: ImageArray, seed: int
) -> Photograph:
    image, reference = make_input(light.task, photograph, seed)
    usual = codec.usual(image, quality)
    ordinary = as_image_array(usual)
    networks = {"heavy": heavy, "light": light}
    encoded, estimate, pixels = {}, {}, {}
    for role, network in networks.items():
        encoded[role], estimate[role] = _encoded(codec, network, image, Bytes(len(usual)))
        pixels[role] = as_image_array(encoded[role].data)
    arms = []
    for role, file in ARMS:
        network = networks[role]
        source, size = (ordinary, len(usual)) if file == "ordinary" else (pixels[role], len(encoded[role].data))
        restored, seconds = _timed(network, source)
        flops = network.cost(*image.shape[:2]).flops
        arms.append(Arm(role, network.name, file, size, psnr_rgb(restored, reference), flops, seconds, restored))
    return Photograph(name, reference, ordinary, encoded["light"], estimate["light"], tuple(arms))


def _encoded(codec: Codec, network: IRNetwork, image: ImageArray, budget: Bytes) -> tuple[Encoded, Estimate]:
    """A file, and what it goes by, to be drawn: measured where no profile is installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lookup.ProfileWarning)
            profile = lookup.profile_for(codec, network)
    except ProfileNotFoundError:
        from accelir.profiling.controls import control_estimate

        base = control_estimate("uniform", codec, network, image, None)
        estimate = Estimate(base.groups, base.curves, measure_sensitivity(codec, network, image))
        return pipeline.encode(image, network=network, codec=codec, budget=budget, estimate=estimate), estimate
    encoded = pipeline.encode(image, network=network, codec=codec, budget=budget, profile=profile)
    ways = codec.tuned(profile.options(image)).variants(image)
    # That of the way that was chosen.
    tuned = next((way for way in ways if way.block(image) == encoded.block), ways[0])
    return encoded, profile.predict(image, tuned)


def _timed(network: IRNetwork, source: ImageArray) -> tuple[ImageArray, float]:
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        restored = network.restore(source)
        best = min(best, time.perf_counter() - started)
    return restored, best


def _pair(family: str) -> tuple[IRNetwork, IRNetwork]:
    """The widest installed network of a family, and the one nearest to a quarter of its width."""
    widths = {spec.width: name for name, spec in registry.networks().items() if spec.family == family and spec.width}
    if len(widths) < 2:
        raise UnknownNameError(f"it takes two widths to compare, and {len(widths)} are installed.")
    widest = max(widths)
    narrow = min((width for width in widths if width != widest), key=lambda width: abs(width - widest / 4))
    return registry.network(widths[widest]), registry.network(widths[narrow])


def _photographs(image: str | Path | None) -> list[tuple[str, ImageArray]]:
    if image is not None:
        picture = as_image_array(image)
        if picture.ndim == 2:
            picture = np.asarray(Image.fromarray(picture).convert("RGB"))
        top, left = (max(0, (side - LARGEST) // 2) for side in picture.shape[:2])
        return [(Path(image).name, np.ascontiguousarray(picture[top : top + LARGEST, left : left + LARGEST]))]
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise MissingDependencyError(
            "The demo's photographs come with scikit-learn: pip install scikit-learn, or name a picture with --image."
        ) from error
    return [(name, np.ascontiguousarray(load_sample_image(name))) for name in PHOTOGRAPHS]
