"""What every network promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from unittest import SkipTest

import numpy as np
import torch
from PIL import Image

from accelir.network import IRNetwork
from accelir.pictures import picture
from accelir.tasks import Task
from accelir.testing.suite import Suite, raises, require

__all__ = ["check_network", "network_checks"]

SIZES = ((16, 16), (17, 23), (32, 9))

LARGEST_FIELD = 129
"""Receptive fields beyond this are not verified: it would take too long."""

_suite: Suite[[IRNetwork]] = Suite()


def check_network(network: IRNetwork, *, expected_failed_checks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Run all checks on a network.

    Args:
        network: An instance, on any device.
        expected_failed_checks: Names of checks that fail, each with the reason.

    Returns:
        For each check ``"passed"``, ``"skipped: ..."`` or ``"failed as expected: ..."``.

    Raises:
        ConformanceError: The contract is not kept.
    """
    return _suite.run(repr(network), expected_failed_checks, network)


def network_checks() -> list[tuple[str, Callable[[IRNetwork], None]]]:
    """The checks as (name, callable that takes a network)."""
    return list(_suite)


@_suite.check
def check_attributes(network: IRNetwork) -> None:
    """The network says what it is."""
    require(network.name, "name is set")
    require(network.family, "family is set")
    require(network.width == int(network.width) >= 0, f"width is 0 or more; got {network.width!r}")
    require(isinstance(network.task, Task), f"task is a Task; got {network.task!r}")
    field = network.receptive_field
    require(field is None or (field == int(field) >= 1), f"receptive_field is None or 1 or more; got {field!r}")
    require(network.multiple >= 1, f"multiple is 1 or more; got {network.multiple!r}")


@_suite.check
def check_forward(network: IRNetwork) -> None:
    """A batch of any size comes back as many times larger as the task says."""
    scale = network.task.scale
    for height, width in SIZES:
        batch = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)).to(network.device)
        with torch.no_grad():
            restored = network.forward(batch)
        wanted = (2, 3, height * scale, width * scale)
        require(
            tuple(restored.shape) == wanted,
            f"forward of {tuple(batch.shape)} gives {wanted}; got {tuple(restored.shape)}",
        )
        require(restored.dtype == batch.dtype, f"forward of float32 gives float32; got {restored.dtype}")
        require(torch.isfinite(restored).all(), "forward gives finite values")


@_suite.check
def check_restore(network: IRNetwork) -> None:
    """What comes in comes out in its kind: arrays, gray arrays, PIL images."""
    scale = network.task.scale
    for height, width in (*SIZES, (1, 1)):
        for gray in (False, True):
            image = picture(height, width, gray=gray)
            restored = network.restore(image)
            wanted = (height * scale, width * scale, *image.shape[2:])
            require(restored.shape == wanted, f"restore of {image.shape} gives {wanted}; got {restored.shape}")
            require(restored.dtype == np.uint8, f"restore gives uint8; got {restored.dtype}")
    for mode in ("RGB", "L"):
        opened = Image.fromarray(picture(16, 24, gray=mode == "L"))
        returned = network.restore(opened)
        require(isinstance(returned, Image.Image), f"restore of a PIL image gives one; got {type(returned).__name__}")
        require(
            (returned.mode, returned.size) == (mode, (24 * scale, 16 * scale)),
            f"restore of a 24x16 {mode} image keeps the mode and scales the size; got {returned!r}",
        )


@_suite.check
def check_restore_is_forward(network: IRNetwork) -> None:
    """In float32, `restore` is `forward`, rounded and clipped."""
    image = picture(32, 40)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(network.device).float() / 255
    with torch.no_grad():
        values = network.forward(batch)[0].permute(1, 2, 0).cpu().numpy() * 255
    restored = network.restore(image, dtype=torch.float32)
    worst = np.abs(restored - np.clip(values, 0, 255)).max()
    require(worst <= 0.52, f"restore differs from forward by {worst:.2f} grey levels")


@_suite.check
def check_fast_restore(network: IRNetwork) -> None:
    """In bfloat16 the picture is nearly the same."""
    image = picture(48, 40)
    exact = network.restore(image, dtype=torch.float32).astype(np.float64)
    fast = network.restore(image, dtype=torch.bfloat16)
    error = float(((exact - fast) ** 2).mean())
    require(error < 4, f"bfloat16 differs from float32 by a mean squared error of {error:.1f}")


@_suite.check
def check_deterministic(network: IRNetwork) -> None:
    """The same image gives the same picture, and is not changed."""
    image = picture(24, 31)
    kept = image.copy()
    first, second = network.restore(image), network.restore(image)
    require(np.array_equal(first, second), "restoring twice gives two pictures")
    require(np.array_equal(image, kept), "restore changed its input")
    image.setflags(write=False)
    require(np.array_equal(network.restore(image), first), "a read-only image is restored the same")


@_suite.check
def check_cost(network: IRNetwork) -> None:
    """The cost is positive and grows with the number of pixels."""
    small, large = network.cost(64, 64), network.cost(128, 128)
    require(small.macs > 0 and small.params > 0, f"cost counts something; got {small}")
    require(small.flops == 2 * small.macs, f"flops is twice macs; got {small}")
    require(small.params == large.params, "params does not depend on the size of the image")
    require(
        abs(large.macs / (4 * small.macs) - 1) < 0.1,
        f"four times the pixels take about four times the macs; got {small.macs} and {large.macs}",
    )


@_suite.check
def check_fingerprint(network: IRNetwork) -> None:
    """The fingerprint is steady."""
    first = network.fingerprint()
    network.restore(picture(16, 16))
    require(len(first) == 16 and int(first, 16) >= 0, f"fingerprint is 16 hexadecimal digits; got {first!r}")
    require(network.fingerprint() == first, "restoring changes the fingerprint")


@_suite.check
def check_gradients(network: IRNetwork) -> None:
    """Gradients reach the input of a network that says so."""
    if not network.differentiable:
        raise SkipTest("this network has no gradients")
    batch = torch.full((1, 3, 17, 23), 0.4, device=network.device, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.forward(batch).sum(), batch)
    require(torch.isfinite(gradient).all(), "gradients are finite")
    require(gradient.abs().max() > 0, "gradients are not all zero")


@_suite.check
def check_receptive_field(network: IRNetwork) -> None:
    """One output pixel depends on no input pixel outside the receptive field."""
    field = network.receptive_field
    if field is None or not network.differentiable or field > LARGEST_FIELD:
        raise SkipTest("this network's receptive field is not finite, too large to verify, or it has no gradients")
    reach = field // 2 + network.multiple
    side = 2 * reach + 16
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(network.device).requires_grad_()
    middle = side // 2
    restored = network.forward(image)
    (gradient,) = torch.autograd.grad(
        restored[0, :, middle * network.task.scale, middle * network.task.scale].sum(), image
    )
    outside = gradient.abs().sum(dim=1)[0]
    outside[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1] = 0
    require(float(outside.max()) == 0, f"receptive_field is {field}, but pixels farther away have an influence")


@_suite.check
def check_dtype(network: IRNetwork) -> None:
    """Only float32 and bfloat16 are accepted."""
    raises(ValueError, "a dtype of float16", lambda: network.restore(picture(8, 8), dtype=torch.float16))
