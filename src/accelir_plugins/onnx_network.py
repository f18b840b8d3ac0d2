"""ONNX files as networks, run by onnxruntime."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from accelir.cost import Cost, whole_number
from accelir.errors import DecodeError, InvalidInputError, MissingDependencyError
from accelir.network import IRNetwork
from accelir.registry import task as task_of
from accelir.tasks import Task
from accelir.tiles import Span, margin_of
from accelir_plugins._foreign import Sizes, run

__all__ = ["OnnxNetwork", "load"]

METADATA = "accelir"
"""Of a file that `accelir.export_onnx` wrote: what the network is, as JSON."""

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxNetwork(IRNetwork):
    """An ONNX file whose one input is float (N, 3, H, W) or (N, 1, H, W), 0..1, and whose first output is the picture.

    Heights and widths that the file fixes are kept to by tiling and padding.

    Args:
        path: Of the file.
        task: What it undoes; None where the file says it.
        name: Unique name.

    Raises:
        DecodeError: onnxruntime cannot read it.
        InvalidInputError: Its inputs are others, or the task is missing or not the one that the file says.
    """

    differentiable = False

    def __init__(self, path: Path, task: Task | None, name: str) -> None:
        self.path = Path(path)
        self.providers = ["CPUExecutionProvider"]
        self._session: Any = None
        inputs = self.session.get_inputs()
        described = " and ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        shape = inputs[0].shape if len(inputs) == 1 else []
        fixed = [side if isinstance(side, int) else None for side in shape]
        if len(fixed) != 4 or inputs[0].type not in DTYPES or fixed[0] not in (None, 1) or fixed[1] not in (None, 1, 3):
            raise InvalidInputError(
                f"{path} takes {described}; a network takes one float (N, 3, H, W) or (N, 1, H, W), N free or 1."
            )
        stored = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        facts: dict[str, Any] = json.loads(stored) if stored else {}
        if task is None:
            if "task" not in facts:
                raise InvalidInputError(f"{path} does not say what it undoes; name the task.")
            task = task_of(facts["task"])
        elif facts.get("task", task.name) != task.name:
            raise InvalidInputError(f"{path} is for task {facts['task']!r}, not for {task.name!r}.")
        self.task = task
        self.name = name
        self.family = facts.get("family", name)
        self.width = facts.get("width", 0)
        self.receptive_field = facts.get("receptive_field")
        self.multiple = facts.get("multiple", 1)
        self.provenance = facts.get("provenance", {})
        self._params: int | None = facts.get("params")
        self.sizes = Sizes(multiple=facts.get("size_multiple", 1), height=fixed[2], width=fixed[3])
        self._channels = fixed[1] or 3
        # Of the weights that were exported, to which profiles are bound.
        self._exported_from: str | None = facts.get("fingerprint")
        self._batches = fixed[0] is None
        # As the network pads that was exported.
        self._reflect = facts.get("padding", "reflect") == "reflect"

    @property
    def session(self) -> Any:
        """Of onnxruntime."""
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            try:
                self._session = onnxruntime.InferenceSession(str(self.path), options, providers=self.providers)
            except Exception as error:
                # onnxruntime's errors have no common base but this.
                raise DecodeError(f"Not an ONNX file that can be run: {self.path} ({error}).") from error
        return self._session

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wanted = self.session.get_inputs()[0]

        def call(images: torch.Tensor) -> torch.Tensor:
            given = images.detach().cpu().numpy().astype(DTYPES[wanted.type], copy=False)
            try:
                restored = self.session.run(None, {wanted.name: np.ascontiguousarray(given)})[0]
            except Exception as error:
                raise InvalidInputError(f"{self.path} cannot run on {tuple(images.shape)}: {error}.") from error
            return torch.from_numpy(np.asarray(restored, np.float32)).to(x)

        return run(
            x,
            call,
            sizes=self.sizes,
            scale=self.task.scale,
            channels=self._channels,
            batches=self._batches,
            reflect=self._reflect,
        )

    def tiles(self, height: int, width: int, side: int | None = None) -> Iterator[tuple[Span, Span]]:
        """As of any network; along a side that the file fixes, windows of just that size within the picture."""
        if self.sizes.height is None and self.sizes.width is None:
            yield from super().tiles(height, width, side)
            return
        # Of a free side what is usual, by a picture of the fixed one.
        usual = list(super().tiles(self.sizes.height or height, self.sizes.width or width, side))
        rows = self._windows(height, self.sizes.height) if self.sizes.height else _unique(row for row, _ in usual)
        columns = self._windows(width, self.sizes.width) if self.sizes.width else _unique(column for _, column in usual)
        for row in rows:
            for column in columns:
                yield row, column

    def _windows(self, length: int, fixed: int) -> list[Span]:
        """Of a side: as far inside the picture as they go, for the network to see its real borders."""
        if length <= fixed:
            return [Span(0, length, 0, length)]
        margin = -(-min(margin_of(self.receptive_field), fixed // 4) // self.multiple) * self.multiple
        if fixed < 2 * self.multiple:
            # No room beside the step.
            margin = 0
        step = max((fixed - 2 * margin) // self.multiple, 1) * self.multiple
        last = -(-(length - fixed) // self.multiple) * self.multiple
        firsts = {start: min(max(start - margin, 0), last) for start in range(0, length, step)}
        return [
            Span(start, min(start + step, length), first, min(first + fixed, length)) for start, first in firsts.items()
        ]

    def to(self, device: str | torch.device) -> Self:
        """Choose the execution provider: the CPU's, or CUDA's where onnxruntime has it. Tensors stay on the CPU."""
        import onnxruntime

        try:
            place = torch.device(device)
        except RuntimeError as error:
            raise InvalidInputError(f"No device is called {str(device)!r}.") from error
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(place.type)
        if provider is None or provider not in onnxruntime.get_available_providers():
            raise InvalidInputError(f"Device {str(device)!r} cannot be used: this onnxruntime has no provider for it.")
        wanted: list[Any] = ["CPUExecutionProvider"]
        if place.type != "cpu":
            wanted = [(provider, {"device_id": place.index or 0}), *wanted]
        if wanted != self.providers:
            self.providers, self._session = wanted, None
        return self

    def cost(self, height: int, width: int) -> Cost:
        """Of the convolutions and matrix products in the graph, by running it once.

        Parameters are those of the network that was exported; where the file does not say how many, all numbers that
        it holds, constants too.
        """
        height, width = whole_number("The height", height), whole_number("The width", width)
        tiles = list(self.tiles(height, width)) if self.sizes.height or self.sizes.width else [None]
        rows, columns = self.sizes.around(height, width)
        macs, numbers = _count(self.path, rows, columns)
        each = 3 if self._channels == 1 else 1
        macs *= len(tiles) * each
        return Cost(macs, 2 * macs, numbers if self._params is None else self._params)

    def fingerprint(self) -> str:
        if self._exported_from is not None:
            return self._exported_from
        digest = hashlib.sha256()
        try:
            for path in (self.path, *_weights_beside(self.path)):
                digest.update(path.read_bytes())
        except OSError as error:
            raise DecodeError(f"The weights of {self.path} cannot be read: {error}.") from error
        return digest.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None}


def load(path: Path, name: str, task: Task | None = None) -> OnnxNetwork:
    """The network in an ONNX file; see `OnnxNetwork`."""
    import onnxruntime  # noqa: F401  (a missing one is told as such, not as a broken file)

    return OnnxNetwork(path, task, name)


def _unique(spans: Iterator[Span]) -> list[Span]:
    return list(dict.fromkeys(spans))


def _weights_beside(path: Path) -> list[Path]:
    """The files that hold weights of an ONNX file which does not hold them itself."""
    try:
        from onnx import load
        from onnx.external_data_helper import uses_external_data
    except ImportError as error:
        raise MissingDependencyError(
            f"Looking into an ONNX file needs onnx: {error}. Install it: pip install 'accelir[onnx]'"
        ) from error
    graphs, names = [load(str(path), load_external_data=False).graph], set()
    while graphs:
        graph = graphs.pop()
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        graphs += [part for attribute in attributes for part in (attribute.g, *attribute.graphs) if part.node]
        for tensor in (*graph.initializer, *(attribute.t for attribute in attributes)):
            if uses_external_data(tensor):
                names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    return [path.parent / name for name in sorted(names)]


def _count(path: Path, height: int, width: int) -> tuple[int, int]:
    """Multiply-accumulates for one input, by the shapes that come up when it runs; and floating-point constants."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    graph = model.graph
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    numbers = sum(math.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in floats)
    counted = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    names = sorted({name for node in counted for name in (*node.input[:2], node.output[0])})
    graph.ClearField("output")
    for number, name in enumerate(names):
        graph.node.append(onnx.helper.make_node("Shape", [name], [f"shape of {number}"]))
        graph.output.append(onnx.helper.make_tensor_value_info(f"shape of {number}", onnx.TensorProto.INT64, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    channels = taken.shape[1] if isinstance(taken.shape[1], int) else 3
    image = np.zeros((1, channels, height, width), DTYPES[taken.type])
    shapes = dict(zip(names, session.run(None, {taken.name: image}) if names else [], strict=True))
    macs = 0
    for node in counted:
        source, weight, result = (shapes[name].tolist() for name in (node.input[0], node.input[1], node.output[0]))
        if node.op_type == "Conv":
            # Each output takes one filter: (outputs, inputs / groups, h, w).
            macs += math.prod(result) * math.prod(weight[1:])
        elif node.op_type == "ConvTranspose":
            # Each input is written by one filter: (inputs, outputs / groups, h, w).
            macs += math.prod(source) * math.prod(weight[1:])
        else:
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            macs += math.prod(result) * source[0 if transposed else -1]
    return macs, numbers
