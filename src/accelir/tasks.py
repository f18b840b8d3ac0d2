"""Tasks: what a network undoes, and how its input is made from a clean reference."""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from accelir.checks import as_number
from accelir.errors import InvalidInputError

__all__ = ["Deblur", "Denoise", "SuperResolution", "Task", "blur", "camera_shake_kernel", "task_named"]

Array = npt.NDArray[np.uint8]


class Task(ABC):
    """What a network undoes.

    Attributes:
        name: Unique name that carries the parameters, for example ``"denoise-s25"``.
        scale: Output side over input side.
        shared: Whether what the network undoes is unknown and the same all over a picture, as a camera shake is: then
            no block tells it, and the whole picture does. A mirror image would have another, so that guidance restores
            none.
    """

    name: str
    scale: int = 1
    shared: bool = False

    @abstractmethod
    def degrade(self, reference: Array, rng: np.random.Generator) -> Array:
        """Make the network's input from a clean reference.

        Args:
            reference: uint8 (H, W, 3) or (H, W), sRGB; H and W multiples of ``scale`` (see `crop`).
            rng: Source of all randomness.

        Returns:
            uint8 (H / scale, W / scale, 3) or (H / scale, W / scale).
        """

    def crop(self, reference: Array) -> Array:
        """The largest top-left part of ``reference`` whose sides are multiples of ``scale``."""
        height, width = reference.shape[:2]
        return reference[: height - height % self.scale, : width - width % self.scale]

    def matching(self, reference: Array, image: Array) -> Array:
        """The part of a reference that the restored ``image`` is held against.

        Args:
            reference: uint8 (H, W, 3) or (H, W): the clean original.
            image: uint8 (h, w, 3) or (h, w): the network's input.

        Returns:
            uint8 (h * scale, w * scale, 3) or (h * scale, w * scale), of the restored image's shape.

        Raises:
            InvalidInputError: The reference does not belong to the image.
        """
        clean = self.crop(reference)
        if clean.shape != (image.shape[0] * self.scale, image.shape[1] * self.scale, *image.shape[2:]):
            differ = "" if reference.ndim == image.ndim else ": one is gray, the other has colours"
            raise InvalidInputError(
                f"The reference of shape {reference.shape} does not belong to an image of shape {image.shape} at scale "
                f"{self.scale}{differ}."
            )
        return clean

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class SuperResolution(Task):
    """Super-resolution by an integer factor; the input is antialiased bicubic (a = -0.5), rounded to uint8.

    Args:
        scale: 2 or more.
    """

    def __init__(self, scale: int) -> None:
        if not (as_number(scale).is_integer() and scale >= 2):
            raise InvalidInputError(f"Super-resolution needs a whole scale of 2 or more; got {scale}.")
        self.scale = int(scale)
        self.name = f"sr-x{self.scale}"

    def degrade(self, reference: Array, rng: np.random.Generator) -> Array:
        height, width = reference.shape[:2]
        if height % self.scale or width % self.scale:
            raise InvalidInputError(
                f"{self.name} needs sides that are multiples of {self.scale}; got {width}x{height}. Use task.crop()."
            )
        size = (width // self.scale, height // self.scale)
        return np.asarray(Image.fromarray(reference).resize(size, Image.Resampling.BICUBIC))


class Denoise(Task):
    """Removal of white Gaussian noise, rounded and clipped to uint8.

    Args:
        sigma: Standard deviation on the 0..255 scale, or a (low, high) range for blind networks.
    """

    def __init__(self, sigma: float | tuple[float, float]) -> None:
        low, high = sigma if isinstance(sigma, tuple) else (sigma, sigma)
        if not 0 <= as_number(low) <= as_number(high) < math.inf:
            raise InvalidInputError(f"Noise sigma must be 0 <= low <= high on the 0..255 scale; got {sigma}.")
        self.sigma = (float(low), float(high))
        self.name = f"denoise-s{low:g}" if low == high else f"denoise-s{low:g}to{high:g}"

    def degrade(self, reference: Array, rng: np.random.Generator) -> Array:
        low, high = self.sigma
        sigma = low if low == high else rng.uniform(low, high)
        noise = rng.standard_normal(reference.shape, dtype=np.float32)
        return _to_uint8(reference + np.float32(sigma) * noise)


class Deblur(Task):
    """Removal of camera shake: a seeded random camera trajectory, then slight noise.

    Args:
        extent: (smallest, largest) extent of the trajectory in pixels.
        noise: Standard deviation of the noise on the 0..255 scale.
        kernels: Blur kernels of one's own to draw from instead of trajectories: float32 (h, w), odd sides, each at
            least 0 and summing to 1. The name tells them from others, but holds them not: whoever loads weights that
            were trained so passes the task again.
    """

    shared = True

    def __init__(
        self,
        extent: tuple[float, float] = (5.0, 23.0),
        noise: float = 1.0,
        *,
        kernels: Sequence[npt.NDArray[np.float32]] = (),
    ) -> None:
        if not 0 < as_number(extent[0]) <= as_number(extent[1]) < math.inf:
            raise InvalidInputError(f"Blur extent must be 0 < smallest <= largest pixels; got {extent}.")
        if not 0 <= as_number(noise) < math.inf:
            raise InvalidInputError(f"Noise is 0 or more on the 0..255 scale; got {noise}.")
        self.extent = extent
        self.noise = float(noise)
        self.kernels = tuple(_blur_kernel(kernel) for kernel in kernels)
        default = (tuple(self.extent), self.noise) == ((5.0, 23.0), 1.0)
        self.name = "deblur" if default else f"deblur-e{extent[0]:g}to{extent[1]:g}-n{self.noise:g}"
        if self.kernels:
            content = b"".join(repr(kernel.shape).encode() + kernel.tobytes() for kernel in self.kernels)
            self.name = f"deblur-k{hashlib.sha256(content).hexdigest()[:8]}-n{self.noise:g}"

    def degrade(self, reference: Array, rng: np.random.Generator) -> Array:
        if self.kernels:
            return self.degrade_with(reference, self.kernels[int(rng.integers(len(self.kernels)))], rng)
        return self.degrade_with(reference, camera_shake_kernel(rng, self.extent), rng)

    def degrade_with(self, reference: Array, kernel: npt.NDArray[np.float32], rng: np.random.Generator) -> Array:
        """The same with a blur kernel of one's own: float32 (h, w), odd sides, sums to 1."""
        blurred = blur(reference, kernel)
        return _to_uint8(blurred + np.float32(self.noise) * rng.standard_normal(blurred.shape, dtype=np.float32))


def task_named(name: str) -> Task | None:
    """The task of this module whose name says its parameters, as ``"sr-x3"`` or ``"denoise-s0to55"``; else None."""
    number = r"(\d+(?:\.\d+)?)"
    if match := re.fullmatch(r"sr-x(\d+)", name):
        return SuperResolution(int(match[1]))
    if match := re.fullmatch(rf"denoise-s{number}(?:to{number})?", name):
        return Denoise((float(match[1]), float(match[2] or match[1])))
    if match := re.fullmatch(rf"deblur-e{number}to{number}-n{number}", name):
        return Deblur((float(match[1]), float(match[2])), float(match[3]))
    return Deblur() if name == "deblur" else None


def camera_shake_kernel(rng: np.random.Generator, extent: tuple[float, float]) -> npt.NDArray[np.float32]:
    """A blur kernel from a random camera trajectory: a damped random walk, rasterised with bilinear weights.

    The model is that of Boracchi and Foi (IEEE TIP 2012, section V), simplified: inertia, Gaussian jerks, and now
    and then a sudden turn.

    Args:
        rng: Source of all randomness.
        extent: (smallest, largest) extent of the trajectory in pixels, drawn uniformly.

    Returns:
        float32 (n, n) with n odd, at least 0 everywhere, sums to 1, its centre of mass in the middle.
    """
    steps = 256
    angle = rng.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(angle), np.sin(angle)])
    inertia, jerk = rng.uniform(0.96, 0.998), rng.uniform(0.02, 0.25)
    path = np.zeros((steps, 2))
    for i in range(1, steps):
        velocity = inertia * velocity + jerk * rng.standard_normal(2)
        if rng.random() < 0.008:
            turn = rng.uniform(0.5 * np.pi, 1.5 * np.pi)
            velocity = np.array(
                [
                    velocity[0] * np.cos(turn) - velocity[1] * np.sin(turn),
                    velocity[0] * np.sin(turn) + velocity[1] * np.cos(turn),
                ]
            )
        velocity /= max(1.0, float(np.hypot(*velocity)) / 1.5)
        path[i] = path[i - 1] + velocity
    span = max(float(np.ptp(path, axis=0).max()), 1e-6)
    path *= rng.uniform(*extent) / span
    path -= path.mean(axis=0)
    radius = int(np.ceil(np.abs(path).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    fine = np.linspace(0, steps - 1, 4 * steps)
    for axis_y, axis_x in zip(
        np.interp(fine, np.arange(steps), path[:, 0]), np.interp(fine, np.arange(steps), path[:, 1]), strict=True
    ):
        y, x = axis_y + radius, axis_x + radius
        top, left = int(y), int(x)
        fraction_y, fraction_x = y - top, x - left
        kernel[top, left] += (1 - fraction_y) * (1 - fraction_x)
        kernel[top, left + 1] += (1 - fraction_y) * fraction_x
        kernel[top + 1, left] += fraction_y * (1 - fraction_x)
        kernel[top + 1, left + 1] += fraction_y * fraction_x
    return (kernel / kernel.sum()).astype(np.float32)


def blur(reference: Array, kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Convolve every channel with ``kernel``, edges reflected.

    Args:
        reference: uint8 (H, W, 3) or (H, W).
        kernel: float32 (h, w), odd sides.

    Returns:
        float32 of the reference's shape, 0..255, not rounded.
    """
    height, width = reference.shape[:2]
    rows, columns = kernel.shape
    pads = ((rows // 2, rows // 2), (columns // 2, columns // 2)) + ((0, 0),) * (reference.ndim - 2)
    padded = np.pad(reference, pads, mode="reflect" if min(height, width) > max(rows, columns) else "symmetric")
    shape = (padded.shape[0] + rows - 1, padded.shape[1] + columns - 1)
    spectrum = np.fft.rfft2(kernel, shape)
    if reference.ndim == 3:
        spectrum = spectrum[:, :, None]
    full = np.fft.irfft2(np.fft.rfft2(padded.astype(np.float32), shape, axes=(0, 1)) * spectrum, shape, axes=(0, 1))
    return full[rows - 1 : rows - 1 + height, columns - 1 : columns - 1 + width].astype(np.float32)


def _blur_kernel(kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    values = np.array(kernel, np.float32)
    values.setflags(write=False)
    if values.ndim != 2 or not all(side % 2 for side in values.shape):
        raise InvalidInputError(f"A blur kernel has two odd sides; got shape {values.shape}.")
    if not (values >= 0).all() or abs(float(values.sum(dtype=np.float64)) - 1) > 1e-3:
        raise InvalidInputError(
            f"A blur kernel is at least 0 everywhere and sums to 1; got one from {values.min():g} on that sums to "
            f"{values.sum():g}."
        )
    return values


def _to_uint8(values: npt.NDArray[np.float32]) -> Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
