"""Guidance: the encoder works with the restored error itself, where the sender holds the clean original.

Or with what is left to a better network's restoration, where the sender has a heavier network than the receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from accelir.codec import Codec, Encoded, Guidance, Prepared, Sensitivity
from accelir.errors import BudgetError, CodecError, InvalidInputError, NotDifferentiableError
from accelir.image import ImageArray, in_colour
from accelir.metrics import LUMA
from accelir.network import IRNetwork
from accelir.profiling.sensitivity import PROBES, mean_sensitivity, measure_sensitivity, pull_back
from accelir.tiles import Span

if TYPE_CHECKING:
    from accelir.profiling.profiler import Progress

__all__ = ["PASSES", "falls_behind", "guide", "require_guidable", "require_passes", "restored_error"]

PASSES = 40
"""Forward and backward passes of the network that a reference is followed for, unless the caller says otherwise."""

FIRST_SHARE = 0.2
"""How much of the way to each new target the wanted coefficients go, at first."""

SLOWER, FASTER = 0.7, 1.05
"""What that is multiplied by after a file that restored worse than the one before, and after another."""

FAR_WORSE, OVERSHOT = 0.25, 0.5
"""Logarithm of its error over the start's from which a file is not gone on from: the way from the best one before is
taken again, this part of it."""

FORGIVEN = 10 ** (0.1 / 10)
"""By which factor of squared error a file of the first way may restore worse than the best, and be guided still."""

MIRRORED = (False, False), (False, True), (False, False), (True, False), (False, False), (True, True)
"""Pass by pass, whether a picture is flipped top to bottom, and left to right, before it is restored."""

LEAST_CURVATURE = 0.5
"""Sensitivities below this part of their mean are not trusted to divide by."""


def require_guidable(codec: Codec, image: ImageArray, networks: Sequence[IRNetwork]) -> None:
    """Make sure that a reference can guide, before the work that would then be in vain.

    Args:
        codec: That is to write.
        image: uint8 (H, W, 3) or (H, W).
        networks: That will restore it.

    Raises:
        NotDifferentiableError: A network has no gradients.
        CodecError: The codec cannot be guided.
    """
    for network in networks:
        if not network.differentiable:
            raise NotDifferentiableError(
                f"Network {network.name!r} cannot be differentiated, so that nothing can guide its files; encode with "
                "passes=0 (--passes 0)."
            )
    probe = np.zeros((8, 8, *image.shape[2:]), np.uint8)
    if codec.project(probe.astype(np.float32)) is None or type(codec.prepare(probe)).moved is Prepared.moved:
        raise _unguidable(codec)


def require_passes(passes: int, networks: Sequence[IRNetwork], *, measuring: bool) -> None:
    """Make sure that so many passes can do anything.

    Args:
        passes: Forward and backward passes of all networks together.
        networks: That guide.
        measuring: Whether sensitivities are still to be measured.

    Raises:
        InvalidInputError: There are too few.
    """
    least = _least_passes(networks, measuring=measuring)
    if passes < least:
        what = f"{len(networks)} networks" if len(networks) > 1 else f"network {networks[0].name!r}"
        first = ", whose sensitivity is to be measured," if measuring else ""
        raise InvalidInputError(
            f"Guidance for {what}{first} takes {least} passes or more; got {passes}. To go without, say passes=0 "
            "(--passes 0)."
        )


def _least_passes(networks: Sequence[IRNetwork], *, measuring: bool) -> int:
    # Of each network one that is followed, one for holding the result against the start.
    return (2 + PROBES if measuring else 2) * len(networks)


def _unguidable(codec: Codec) -> CodecError:
    return CodecError(
        f"Codec {codec.name!r} has no coefficients that guidance could move; encode with passes=0 (--passes 0)."
    )


def guide(
    codec: Codec,
    image: ImageArray,
    prepared: Prepared,
    start: Encoded,
    fit: Callable[[Prepared], Encoded],
    networks: Sequence[IRNetwork],
    reference: ImageArray,
    sensitivity: Sensitivity | None,
    *,
    passes: int = PASSES,
    teacher: str | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Look for a file that restores better than ``start``, as the clean original or a teacher tells.

    Minimises the restored squared error + lambda * bits over the coefficients that the file holds. Near a file whose
    coefficients are q, the error is taken for a parabola in each of them: its slope G comes from one backward pass, its
    curvature 2 s from the sensitivity s. The parabola's lowest point q - G / (2 s) is where the coefficient would be
    best, given the *rounding errors of all others*, so it is what the codec's rate-distortion optimal quantisation
    is asked to come near to. Aiming there at once would overshoot, for all coefficients move together; so the wanted
    coefficients go only a share of the way, a smaller one whenever the last file restored worse than the one before,
    and where it is far worse than the start, they go back to the best and take a shorter step from there.

    That is damped Jacobi iteration, with the codec's quantiser in the loop where Daubechies, Defrise and De Mol
    (Communications on Pure and Applied Mathematics 57, 2004, section 2) have shrinkage. To spend passes of a network on
    each image when encoding is the idea of Campos et al. (CVPR Workshops 2019), whose codec is learned; to make a small
    image for the network that will enlarge it, of Kim et al. (ECCV 2018); to learn from a better network, of Hinton et
    al. (arXiv:1503.02531), though here the file learns, and no network.

    Every second pass restores the picture in a mirror, unless the task undoes what a mirror changes. What a network
    makes of a picture and of its mirror image differs by its idiosyncrasies, so that files owe less to these, and
    networks that guided nothing gain more. Adversarial examples go from one network to others so in Xie et al.,
    Improving Transferability of Adversarial Examples with Input Diversity (CVPR 2019).

    The best file seen wins, where with several networks the one that gains least counts. It is held against ``start``
    with `IRNetwork.restore` in the end, so that the result never restores worse for any of them.

    Args:
        codec: Decodes and projects.
        image: uint8 (H, W, 3) or (H, W): what is encoded.
        prepared: The same; its `Prepared.moved` writes.
        start: The file to be better than, of this codec with whatever options.
        fit: Writes the best file within the budget.
        networks: That will restore it, all of one task.
        reference: uint8 (H * scale, W * scale, 3) or (H * scale, W * scale): what to come near to.
        sensitivity: float32 (rows, cols, K): the networks' mean; None to measure it, which takes a few of the passes.
        passes: Forward and backward passes, at most; those of all networks together, as many as `require_passes` wants.
        teacher: The name of the network that has made the reference, where one has.
        progress: Told (done, total, what).

    Returns:
        ``start`` or a better file that fits, with its `Encoded.guidance`.

    Raises:
        NotDifferentiableError: A network has no gradients.
        CodecError: The codec cannot be guided.
    """
    least_passes = _least_passes(networks, measuring=sensitivity is None)
    steps = 1 + (passes - least_passes) // len(networks)
    taken = least_passes - len(networks)
    if sensitivity is None:
        sensitivity = mean_sensitivity([measure_sensitivity(codec, network, image) for network in networks])
    if sensitivity is None:
        raise _unguidable(codec)
    usual = [_squared_error(network, codec, start, reference) for network in networks]

    def told(encoded: Encoded, errors: Sequence[float]) -> Encoded:
        before, after = (tuple(_psnr(error, reference.size) for error in each) for each in (usual, errors))
        names = tuple(net.name for net in networks)
        return replace(encoded, guidance=Guidance(names, taken, before, after, teacher))

    if not all(usual):
        return told(start, usual)
    curvature = 2 * np.maximum(sensitivity, np.float32(LEAST_CURVATURE) * sensitivity.mean() + np.float32(1e-12))
    # Sensitivities count the error in R, G and B, which in gray are one.
    curvature /= np.float32(1 if image.ndim == 3 else 3)
    shift = np.zeros_like(sensitivity)
    best, least, last = start, 0.0, np.inf
    best_straight, least_straight = start, 0.0
    mirrored = not networks[0].task.shared
    share = FIRST_SHARE
    what = "following the reference" if teacher is None else f"following {teacher}"
    origin, way = shift, shift
    for step in range(steps):
        if progress is not None:
            progress(step, steps, what)
        try:
            encoded = fit(prepared.moved(shift))
        except BudgetError:
            break
        pixels = codec.decode(encoded.data)
        taken += len(networks)
        mirror = MIRRORED[step % len(MIRRORED)] if mirrored else MIRRORED[0]
        errors, gradients = zip(*(_seen(network, pixels, reference, mirror) for network in networks), strict=True)
        change = max(float(np.log(max(error, 1e-9) / before)) for error, before in zip(errors, usual, strict=True))
        straight = not any(mirror)
        if step and change > FAR_WORSE:
            if straight:
                share *= OVERSHOT
                shift = origin + np.float32(share) * way
            else:
                # Whether the network minds mirrors or the file is bad, the next pass is of the picture itself.
                mirrored = False
            continue
        if step:
            share = min(share * (SLOWER if change > last else FASTER), 1.0)
        last = change
        slope, off = codec.project(np.mean(gradients, axis=0)), encoded.coefficient_error
        if slope is None or off is None:
            raise CodecError(f"Codec {codec.name!r} moves coefficients but does not say how far it came.")
        there = off - slope / curvature
        if not step or change < least:
            origin, way = shift, there
            if change < least:
                best, least = encoded, change
        if straight and change < least_straight:
            best_straight, least_straight = encoded, change
        shift = shift + np.float32(share) * there
    if progress is not None:
        progress(steps, steps, what)
    # What a mirror image made of a file is not what counts.
    for found in dict.fromkeys((best, best_straight)):
        checked = usual if found is start else [_squared_error(net, codec, found, reference) for net in networks]
        if all(now <= before for now, before in zip(checked, usual, strict=True)):
            return told(found, checked)
    return told(start, usual)


def _seen(
    network: IRNetwork, pixels: ImageArray, reference: ImageArray, mirror: tuple[bool, bool]
) -> tuple[float, npt.NDArray[np.float32]]:
    """`restored_error`, of the picture or of a mirror image of it."""
    down, across = (slice(None, None, -1 if turned else 1) for turned in mirror)
    views = (np.ascontiguousarray(each[down, across]) for each in (pixels, reference))
    error, slope = restored_error(network, *views)
    return error, np.ascontiguousarray(slope[down, across])


def falls_behind(
    file: Encoded, other: Encoded, codec: Codec, networks: Sequence[IRNetwork], reference: ImageArray
) -> bool:
    """Whether a file restores so much worse than another that guidance is better spent on that.

    Args:
        file: One file of a picture.
        other: Another one.
        codec: That reads both.
        networks: That restore it; the one that loses most counts.
        reference: uint8, of the restored shape.
    """
    return any(
        _squared_error(network, codec, file, reference) > FORGIVEN * _squared_error(network, codec, other, reference)
        for network in networks
    )


def restored_error(
    network: IRNetwork, image: ImageArray, reference: ImageArray
) -> tuple[float, npt.NDArray[np.float32]]:
    """The squared error of a restored image, and its slope: one forward and backward pass, in bounded memory.

    Args:
        network: Differentiable.
        image: uint8 (H, W, 3) or (H, W): its input.
        reference: uint8 of the restored image's shape.

    Returns:
        The error summed over all samples (0..255), as after rounding to uint8; and float32 of the image's shape, the
        derivative of the error, as before rounding, by each sample of the input.

    Raises:
        NotDifferentiableError: The network has no gradients.
    """
    scale = network.task.scale
    total = 0.0

    def cotangent(restored: torch.Tensor, rows: Span, columns: Span) -> torch.Tensor:
        nonlocal total
        wanted = torch.from_numpy(np.array(reference[rows.scaled(scale), columns.scaled(scale)])).to(restored.device)
        values = restored * 255
        clipped = values.clamp(0, 255)
        if reference.ndim == 2:
            luma = torch.tensor(LUMA, device=restored.device).view(1, 3, 1, 1)
            error = (clipped * luma).sum(dim=1, keepdim=True) - wanted
            rounded = (clipped.round() * luma).sum(dim=1, keepdim=True).round() - wanted
            slope = 2 * error * luma
        else:
            wanted = wanted.permute(2, 0, 1)[None]
            rounded = clipped.round() - wanted
            slope = 2 * (clipped - wanted)
        total += float((rounded.double() ** 2).sum())
        # Beyond black and white nothing changes.
        return torch.where(values == clipped, slope, 0.0)

    colour = in_colour(image)
    gradient = pull_back(network, colour, cotangent)
    return total, gradient if image.ndim == 3 else gradient.sum(axis=2)


def _squared_error(network: IRNetwork, codec: Codec, encoded: Encoded, reference: ImageArray) -> float:
    restored = network.restore(codec.decode(encoded.data))
    return float(((restored.astype(np.float64) - reference) ** 2).sum())


def _psnr(squared_error: float, samples: int) -> float:
    return float(10 * np.log10(255**2 * samples / squared_error)) if squared_error else float("inf")
