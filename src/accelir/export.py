"""Networks as ONNX files, for clients that have no torch."""

from __future__ import annotations

import copy
import json
import logging
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from accelir import registry
from accelir.cost import parameters_of, whole_number
from accelir.errors import ExportError, InvalidInputError, MissingDependencyError, SaveError
from accelir.files import write_atomically
from accelir.network import IRNetwork, TorchNetwork, as_module

__all__ = ["Exported", "export_onnx"]

SAMPLE = (64, 80)
"""Height and width of what the network is traced with."""

OTHER = (40, 57)
"""Of what it is checked with besides, where it takes any."""

LARGEST = 65_536
"""Longest side of an input."""

FOLDED = 2**22
"""Numbers of the largest weights that are computed once, for the file, where a network makes them of others."""

GROWN = 1.1
"""How much larger the file may become by that."""

CONVERTERS = ("torch.onnx", "onnxscript", "onnx_ir")
"""Loggers that tell of every operator of torchvision that is not there, and of what `ExportError` says anyway."""

_CONVERTING = threading.Lock()


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written.

    Attributes:
        path: Of the file.
        opset: Of its operators.
        max_difference: Largest difference of its output from the network's, 0..1, on the inputs it was checked with.
    """

    path: Path
    opset: int
    max_difference: float


def export_onnx(
    network: str | Path | IRNetwork,
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    opset: int = 18,
    tolerance: float = 1e-4,
) -> Exported:
    """Write a network as one ONNX file, once onnxruntime has made the same of random inputs as the network.

    The file takes ``image``, float32 (1, 3, H, W), 0..1, sRGB, and gives ``restored``, float32 (1, 3, H * scale,
    W * scale), not clipped. Its metadata has the key ``accelir``: JSON that says name, family, width, task, scale,
    receptive field, parameters, opset, fingerprint and where the weights come from. ``accelir.network(path)`` runs it.

    Args:
        network: As `accelir.network` takes it.
        path: Of the file, replaced where it exists, whole or not at all.
        size: The one height and width that the file takes; None for any.
        opset: Version of ONNX's operators. torch writes 18; not every network can be converted to another.
        tolerance: Largest difference of an output sample, 0..1.

    Raises:
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
        ExportError: The network cannot be traced or not in that opset, or the file computes something else.
        InvalidInputError: No such size, or the network makes something else than its task promises.
        SaveError: The file cannot be written.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"Writing ONNX needs something that is not installed: {error}. Install it: pip install 'accelir[onnx]'"
        ) from error
    net = registry.network(network)
    if not net.modules:
        raise ExportError(f"Network {net.name!r} keeps no torch module that could be exported.")
    if size is not None:
        try:
            height, width = size
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"The size is a height and a width, as (256, 256) is; got {size!r}.") from error
        size = whole_number("The height", height), whole_number("The width", width)
    folder = Path(path).parent
    if not folder.is_dir():
        raise SaveError(f"There is no folder {folder}.")
    net = copy.deepcopy(net).to("cpu")
    module = as_module(net).float().eval()
    # What it makes is what its task promises, before anything that takes long.
    try:
        sample, made = torch.zeros(1, 3, *(size or SAMPLE)), None
    except RuntimeError as error:
        raise ExportError(f"There is no memory for an input of {size}: {_first_line(error)}") from error
    with torch.no_grad(), suppress(Exception):
        made = net.forward(sample)
    # Sizes that it cannot take are told when it is traced.
    if made is not None:
        net.check_output(sample, made)
    facts: dict[str, Any] = {
        "format": 1,
        "name": net.name,
        "family": net.family,
        "width": net.width,
        "task": net.task.name,
        "scale": net.task.scale,
        "receptive_field": net.receptive_field,
        "multiple": net.multiple,
        "padding": "replicate" if isinstance(net, TorchNetwork) else "reflect",
        "params": parameters_of(net.modules),
        "fingerprint": net.fingerprint(),
        "opset": opset,
        "torch": str(torch.__version__),
        "provenance": dict(net.provenance),
    }
    failures = []
    # Some networks can only be traced, or run, for sizes that are multiples of their stride.
    for step in dict.fromkeys((1,) if size is not None else (1, net.multiple, 8, 16)):
        try:
            model = _traced(module, net.name, size, step, opset)
            # Other sizes are padded as the network pads them, also where its module would take them as they are.
            multiple = math.lcm(step, net.multiple) if isinstance(net, TorchNetwork) else step
            onnx.helper.set_model_props(model, {"accelir": json.dumps({**facts, "size_multiple": multiple})})
            data: bytes = model.SerializeToString()
            shapes = [size] if size is not None else [_rounded(SAMPLE, step), _rounded(OTHER, step)]
            worst = _difference(module, net.name, data, shapes)
            if not worst <= tolerance:
                raise ExportError(
                    f"The ONNX form of {net.name!r} differs from it by up to {worst:.2g} (0..1); at most "
                    f"{tolerance:g} is allowed. Nothing was written."
                )
        except ExportError as error:
            failures.append(error)
        else:
            (written,) = (entry.version for entry in model.opset_import if entry.domain == "")
            if written != opset:
                raise ExportError(
                    f"The operators of {net.name!r} cannot be converted to opset {opset}; opset={written} is possible. "
                    "Nothing was written."
                )
            return Exported(write_atomically(path, data), written, worst)
    raise failures[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what the converters log is shown."""
    loggers = [logging.getLogger(name) for name in CONVERTERS]
    # One at a time: levels are those of all threads.
    with _CONVERTING:
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _traced(module: nn.Module, name: str, size: tuple[int, int] | None, step: int, opset: int) -> Any:
    """The model, for one size or for heights and widths that are multiples of ``step``."""
    import onnxscript.optimizer

    dynamic = None
    if size is None:
        height, width = (torch.export.Dim(side, min=1, max=LARGEST // step) for side in ("height", "width"))
        dynamic = ({2: step * height, 3: step * width},) if step > 1 else ({2: height, 3: width},)
    try:
        with _quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (torch.zeros(1, 3, *_rounded(size or SAMPLE, step)),),
                dynamo=True,
                dynamic_shapes=dynamic,
                input_names=["image"],
                output_names=["restored"],
                opset_version=opset,
                verbose=False,
            )
            written = program.model_proto  # type: ignore[union-attr]
            onnxscript.optimizer.optimize_ir(
                program.model,  # type: ignore[union-attr]
                input_size_limit=FOLDED,
                output_size_limit=FOLDED,
            )
            folded = program.model_proto  # type: ignore[union-attr]
        # Masks and the like, which were made on the way, may take far more room than what they are made of.
        return folded if folded.ByteSize() <= GROWN * written.ByteSize() else written
    except Exception as error:
        # torch gives its export errors no common base but this.
        raise ExportError(f"Network {name!r} cannot be traced: {_first_line(error.__cause__ or error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _rounded(shape: tuple[int, int], step: int) -> tuple[int, int]:
    height, width = (-(-side // step) * step for side in shape)
    return height, width


def _difference(module: nn.Module, name: str, data: bytes, shapes: Sequence[tuple[int, int]]) -> float:
    """The largest on random images, 0..1; infinite where the shapes differ."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What fails is told once.
    options.log_severity_level = 4
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for shape in shapes:
            image = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                wanted = module(image).numpy()
            (got,) = session.run(None, {"image": image.numpy()})
            worst = max(worst, float(np.abs(got - wanted).max()) if got.shape == wanted.shape else float("inf"))
    except Exception as error:
        # onnxruntime's errors have no common base but this.
        raise ExportError(
            f"The ONNX form of {name!r} cannot be run: {_first_line(error)}; nothing was written."
        ) from error
    return worst
