"""A wide network starts from a narrower one of its family: the same function, and so better from the first step on.

Two ways (compare Net2Net, Chen et al., ICLR 2016). `grow` adds channels that nothing reads at first. Where networks
normalise over their channels, further ones would change the norm: `grow_by_copies` makes each channel several times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from accelir.errors import InvalidInputError

__all__ = ["grow", "grow_by_copies"]

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Layers whose weights have the channels that they read first."""


def grow(narrow: nn.Module, wide: nn.Module, *, noise: float = 0.0) -> nn.Module:
    """Copy a narrow network into a wider one of the same shape, so that it starts as the same function.

    Channels that the narrow one has keep their weights; new channels are read with weight zero and keep their
    initial weights where they write. Sub-pixel convolutions, whose outputs are four phases of each channel, are
    matched phase by phase; where convolutions are grouped, the channels of each group stay together, which takes the
    same number of groups wherever there are any.

    Args:
        narrow: Trained. A layer whose input is several equally wide features concatenated says of how many by an
            attribute ``parts``; where it does not, the wide network starts as another function.
        wide: Freshly initialised, with the same parameter names; changed in place.
        noise: Standard deviation of what the new channels are read with, over that of the initial weights.

    Returns:
        ``wide``.

    Raises:
        InvalidInputError: The networks are no torch modules or have other parameters, ``wide`` is the narrower one, or
            there is normalisation over channels, or groups whose number grows with the width. ``wide`` is as it was.
    """
    matched = _matched(narrow, wide)
    found = next((layer for layer in narrow.modules() if "Norm" in type(layer).__name__), None)
    if found is not None:
        raise InvalidInputError(
            f"A network with {type(found).__name__} layers cannot grow by channels that nothing reads."
        )
    numbers = {int(getattr(layer, "groups", 1)) for network in (narrow, wide) for layer in network.modules()} - {1}
    if len(numbers) > 1:
        raise InvalidInputError(f"Grouped convolutions must have one number of groups to be grown; got {numbers}.")
    groups = max(numbers, default=1)
    with torch.no_grad():
        for one in matched:
            source, into = one.values, one.place
            if source.dim() == 1:
                into[_places(len(source), len(into), groups)] = source
                continue
            blocks = 1 if getattr(one.layer, "groups", 1) > 1 else groups * int(getattr(one.layer, "parts", 1))
            outputs = _places(source.shape[0], into.shape[0], groups)[:, None]
            inputs = _places(source.shape[1], into.shape[1], blocks)
            into[outputs, _others(inputs, into.shape[1])] *= noise
            into[outputs, inputs] = source
    return wide


def grow_by_copies(narrow: nn.Module, wide: nn.Module, *, seed: int = 0) -> nn.Module:
    """Make each channel of a narrow network several channels of a wider one, so that it starts as the same function.

    What one channel was read with, its copies are read with in random shares, so that they part ways in training.
    Copies stand beside each other, which keeps halves, heads and groups of channels what they are; the outputs of a
    convolution before `torch.nn.PixelShuffle` in a `torch.nn.Sequential` are copied by whole pixels.

    Args:
        narrow: Trained.
        wide: With the same parameter names; changed in place.
        seed: Of the shares.

    Returns:
        ``wide``. Where a norm goes over channels that are no whole multiple of the narrow ones, or scores of attention
        shrink with the width, it starts as nearly the same function only.

    Raises:
        InvalidInputError: The networks are no torch modules or have other parameters, ``wide`` is the narrower one, or
            pixels become channels (`torch.nn.PixelUnshuffle`), which parts copies. ``wide`` is as it was.
    """
    matched = _matched(narrow, wide)
    if any(isinstance(layer, nn.PixelUnshuffle) for layer in narrow.modules()):
        raise InvalidInputError("A network that makes channels of pixels cannot be grown.")
    random = torch.Generator().manual_seed(seed)
    pixels = _pixels_of_shuffled(narrow)
    with torch.no_grad():
        for one in matched:
            values, place = one.values, one.place
            values = values[_origins(len(values), len(place), pixels.get(one.name, 1))]
            if place.dim() > 1 and values.shape[1] != place.shape[1]:
                origins = _origins(values.shape[1], place.shape[1])
                shares = 0.5 + torch.rand(len(place), len(origins), generator=random)
                sums = torch.zeros(len(place), values.shape[1]).index_add_(1, origins, shares)
                shares = (shares / sums[:, origins]).to(values)
                values = values[:, origins] * shares.reshape(*shares.shape, *[1] * (place.dim() - 2))
            place.copy_(values)
    return wide


@dataclass(frozen=True)
class _Matched:
    """A parameter of the narrow network and that of the wide one which grows from it.

    Attributes:
        name: Of the layer.
        layer: Of the narrow network.
        values: Of the narrow network, (outputs, inputs, ...) or (outputs,).
        place: A view of the wide network's, in the same order.
    """

    name: str
    layer: nn.Module
    values: torch.Tensor
    place: torch.Tensor


def _matched(narrow: nn.Module, wide: nn.Module) -> list[_Matched]:
    _require_module(narrow)
    _require_module(wide)
    targets = {full: parameter for full, _, _, parameter in _parameters(wide)}
    found = []
    for full, name, layer, source in _parameters(narrow):
        into = targets.pop(full, None)
        if into is None:
            raise InvalidInputError(f"The wide network has no {full}, and cannot grow from the narrow one.")
        if (
            source.dim() != into.dim()
            or source.shape[2:] != into.shape[2:]
            or any(a > b for a, b in zip(source.shape, into.shape, strict=True))
        ):
            raise InvalidInputError(
                f"{full} of the narrow network is {tuple(source.shape)} and {tuple(into.shape)} in the other one, "
                "which cannot grow from it."
            )
        swapped = source.dim() > 1 and isinstance(layer, TRANSPOSED)
        values, place = (one.detach().transpose(0, 1) if swapped else one.detach() for one in (source, into))
        found.append(_Matched(name, layer, values, place))
    if targets:
        raise InvalidInputError(f"The narrow network has no {min(targets)}, from which the wide one could grow.")
    return found


def _require_module(network: object) -> None:
    if not isinstance(network, nn.Module):
        hint = "; that of a TorchNetwork is its .module" if hasattr(network, "module") else ""
        raise InvalidInputError(f"What grows is a torch.nn.Module; got {type(network).__name__}{hint}.")


def _parameters(network: nn.Module) -> Iterator[tuple[str, str, nn.Module, nn.Parameter]]:
    """All of them: the name, that of the layer, the layer, the parameter."""
    for name, layer in network.named_modules():
        for key, parameter in layer.named_parameters(recurse=False):
            yield f"{name}.{key}" if name else key, name, layer, parameter


def _pixels_of_shuffled(network: nn.Module) -> dict[str, int]:
    """Of each convolution whose outputs a pixel shuffle takes apart: pixels that it makes of one."""
    return {
        f"{name}.{place}" if name else str(place): after.upscale_factor**2
        for name, module in network.named_modules()
        if isinstance(module, nn.Sequential)
        for place, after in enumerate(list(module)[1:])
        if isinstance(after, nn.PixelShuffle)
    }


def _origins(narrow: int, wide: int, pixels: int = 1) -> torch.Tensor:
    """Which of the ``narrow`` channels each of the ``wide`` is a copy of; ``pixels`` in a row are copied as one."""
    blocks = torch.arange(wide // pixels) * (narrow // pixels) // (wide // pixels)
    return (blocks[:, None] * pixels + torch.arange(pixels)).flatten()


def _places(narrow: int, wide: int, blocks: int) -> torch.Tensor:
    """Where the ``narrow`` channels are among the ``wide``: each block of them first in a block of those."""
    number = torch.arange(narrow)
    if narrow == wide:
        return number
    block = number.div(narrow // blocks, rounding_mode="floor")
    return block * (wide // blocks) + number % (narrow // blocks)


def _others(places: torch.Tensor, count: int) -> torch.Tensor:
    """The rest of ``count`` places."""
    free = torch.ones(count, dtype=torch.bool)
    free[places] = False
    return free.nonzero()[:, 0]
