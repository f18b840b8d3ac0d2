"""Sensitivity: what an error in each coefficient of a codec costs after restoration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from accelir.codec import Codec, Sensitivity
from accelir.errors import NotDifferentiableError
from accelir.failing import failing_as
from accelir.image import ImageArray, in_colour
from accelir.network import IRNetwork
from accelir.tensors import channels_last, fast_dtype
from accelir.tiles import Span

__all__ = [
    "mean_sensitivity",
    "measure_sensitivity",
    "pull_back",
    "pull_backs",
    "sensitivity_from_gradients",
    "smooth_over_blocks",
]

Gradients = npt.NDArray[np.float32]
Cotangent = Callable[[torch.Tensor, Span, Span], torch.Tensor]

PROBES = 5
"""Random vectors that a sensitivity is measured with."""

PATCH = 384
"""Side of the parts in which large images are differentiated."""


def measure_sensitivity(
    codec: Codec, network: IRNetwork, image: ImageArray, *, probes: int = PROBES, seed: int = 0
) -> Sensitivity | None:
    """Restored squared error per unit of squared error in each coefficient, without ground truth.

    For the network f and a random vector z of -1 and +1 at its output, the expected square of a coefficient of
    J^T z, J the Jacobian of f after decoding, is that coefficient's entry on the diagonal of J^T J (Hutchinson's
    estimator). Needs ``probes`` backward passes.

    Args:
        codec: Whose coefficients to tell.
        network: Differentiable.
        image: uint8 (H, W, 3) or (H, W): the network's input.
        probes: Random vectors; the estimate's relative spread falls with their square root.
        seed: Of the random vectors.

    Returns:
        float32 (rows, cols, K), smoothed over 3x3 blocks; None for a codec that has no coefficients to tell.

    Raises:
        NotDifferentiableError: The network has no gradients.
    """
    if codec.project(np.zeros_like(image, dtype=np.float32)[:1, :1]) is None:
        return None
    return sensitivity_from_gradients(codec, pull_backs(network, image, probes=probes, seed=seed))


def pull_backs(network: IRNetwork, image: ImageArray, *, probes: int = PROBES, seed: int = 0) -> Gradients:
    """J^T z for random vectors z of -1 and +1: float32 (probes, H, W, 3) or (probes, H, W), the image's shape.

    Raises:
        NotDifferentiableError: The network has no gradients.
    """
    generator = torch.Generator().manual_seed(seed)
    colour = in_colour(image)

    def signs(restored: torch.Tensor, rows: Span, columns: Span) -> torch.Tensor:
        return torch.randint(0, 2, restored.shape, generator=generator).float().mul(2).sub(1).to(restored.device)

    gradients = _pull_back(network, colour, signs, probes)
    return gradients if image.ndim == 3 else gradients.sum(axis=3)


def pull_back(network: IRNetwork, colour: ImageArray, cotangent: Cotangent) -> Gradients:
    """J^T z for one z, tile by tile: memory is bounded by the tile.

    Every output pixel counts once: each tile's z lives on its own outputs, and its gradient is added wherever those
    outputs look.

    Args:
        network: Differentiable.
        colour: uint8 (H, W, 3): the network's input.
        cotangent: z for a tile: gets what the network made of it, float (1, 3, h, w) in 0..1, and the rows and columns
            of the input that it belongs to; returns a tensor of that shape on that device.

    Returns:
        float32 (H, W, 3).

    Raises:
        NotDifferentiableError: The network has no gradients.
        InvalidInputError: The network fails on such an input.
    """
    return _pull_back(network, colour, cotangent, 1)[0]


def _pull_back(network: IRNetwork, colour: ImageArray, cotangent: Cotangent, times: int) -> Gradients:
    """`pull_back` for several z: each tile runs forward once, and backward once for each z."""
    if not network.differentiable:
        raise NotDifferentiableError(
            f"Network {network.name!r} cannot be differentiated: its sensitivity cannot be measured, and no reference "
            'can guide. Use estimate="profile", and passes=0 with a reference.'
        )
    height, width = colour.shape[:2]
    gradients = np.zeros((times, *colour.shape), np.float32)
    scale = network.task.scale
    device = network.device
    bfloat16 = fast_dtype(device) is torch.bfloat16
    for module in network.modules:
        channels_last(module.eval())
    # What torch.compile has compiled runs backward only once.
    compiled = any(hasattr(part, "_orig_mod") for module in network.modules for part in module.modules())
    for rows, columns in network.tiles(height, width, PATCH):
        part = torch.from_numpy(np.array(colour[rows.outer, columns.outer])).to(device)
        batch = part.permute(2, 0, 1)[None].float().div(255).to(memory_format=torch.channels_last)
        batch.requires_grad_(True)

        def run(batch: torch.Tensor = batch) -> torch.Tensor:
            autocast = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
            with failing_as(network.name, batch, multiple=network.multiple), torch.enable_grad(), autocast:
                # A copy, for modules that change their input in place.
                restored = network.forward(batch.clone())
            network.check_output(batch, restored)
            return restored.float()

        restored = run()
        inside = (..., rows.within(scale), columns.within(scale))
        for number in range(times):
            if number and compiled:
                restored = run()
            weights = torch.zeros_like(restored)
            weights[inside] = cotangent(restored.detach()[inside], rows, columns)
            again = number + 1 < times and not compiled
            with failing_as(network.name, batch, multiple=network.multiple):
                (pulled,) = torch.autograd.grad(restored, batch, weights, retain_graph=again)
            gradients[number, rows.outer, columns.outer] += pulled[0].permute(1, 2, 0).float().cpu().numpy()
    return gradients


def sensitivity_from_gradients(codec: Codec, gradients: Gradients) -> Sensitivity | None:
    """The mean square of the projected gradients, smoothed over 3x3 blocks; None where the codec projects nothing."""
    total: Sensitivity | None = None
    for gradient in gradients:
        projected = codec.project(gradient)
        if projected is None:
            return None
        total = projected**2 if total is None else total + projected**2
    return None if total is None else smooth_over_blocks(total / np.float32(len(gradients)))


def mean_sensitivity(sensitivities: Sequence[Sensitivity | None]) -> Sensitivity | None:
    """What an error costs on average over those networks of which something is known; None where nothing is."""
    known = [each for each in sensitivities if each is not None]
    if len(known) < 2:
        return known[0] if known else None
    return np.mean(known, axis=0, dtype=np.float32)


def smooth_over_blocks(sensitivity: Sensitivity) -> Sensitivity:
    """Average each block with its neighbours, weights 1-2-1 both ways, edges replicated."""
    for axis in (0, 1):
        pads = [(1, 1) if index == axis else (0, 0) for index in range(3)]
        padded = np.pad(sensitivity, pads, mode="edge")
        length = sensitivity.shape[axis]
        left, middle, right = (padded.take(range(start, start + length), axis=axis) for start in range(3))
        sensitivity = (left + 2 * middle + right) / np.float32(4)
    return sensitivity
