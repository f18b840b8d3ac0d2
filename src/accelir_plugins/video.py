"""One still picture through a video encoder of FFmpeg (PyAV), with a quantiser offset for each block.

FFmpeg takes such offsets as regions of interest, a list of rectangles that lies beside the frame. PyAV does not make
one, but FFmpeg's filter ``addroi`` does, a rectangle at a time, and its memory can then be written to.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelir.errors import CodecError, MissingDependencyError

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["Offsets", "encode", "rectangles", "require"]

Plane = npt.NDArray[np.uint8]

_TIME_BASE = Fraction(1, 25)

# FFmpeg's AVRegionOfInterest: its own size, rows from and to, columns from and to, numerator and denominator.
_REGION = np.dtype(
    [("size", "u4"), ("top", "i4"), ("bottom", "i4"), ("left", "i4"), ("right", "i4"), ("offset", "2i4")]
)

# Regions that one pass through the filters adds.
_FILTERS = 64


@dataclass(frozen=True, eq=False)
class Offsets:
    """How much coarser (above 0) or finer blocks are quantised than the rest: FFmpeg's ``qoffset``, -1 to 1.

    Attributes:
        numerators: int32 (rows, columns).
        denominator: Of all of them, above 0.
        side: Of a block in pixels.
    """

    numerators: npt.NDArray[np.int32]
    denominator: int
    side: int


def require(codec: str, what: str, extra: str) -> None:
    """Make sure that there is an encoder.

    Args:
        codec: FFmpeg's name of it, for example ``"libvpx"``.
        what: That it writes, for the message.
        extra: Of accelir: what brings it.

    Raises:
        MissingDependencyError: PyAV, or the encoder in its FFmpeg, is not installed.
    """
    hint = f"pip install 'accelir[{extra}]'"
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(f"{what} is written with PyAV, which is not installed: {hint}") from error
    if codec not in av.codecs_available:
        raise MissingDependencyError(
            f"The FFmpeg of this PyAV has no encoder {codec!r}; the wheels from PyPI have it: {hint}"
        )


def encode(
    planes: Sequence[Plane],
    codec: str,
    options: Mapping[str, str],
    offsets: Offsets | None = None,
    pixel_format: str = "yuv420p",
) -> bytes:
    """The packet of one key frame. The same input gives the same bytes, in any number of threads at once.

    Args:
        planes: uint8 (height, width) each, as the pixel format has them.
        codec: FFmpeg's name of the encoder; see `require`.
        options: Of the encoder.
        offsets: For each block; None for none.
        pixel_format: FFmpeg's name of it.

    Raises:
        CodecError: FFmpeg holds no picture of this size, or the encoder refuses it or the options.
    """
    import av

    height, width = planes[0].shape
    # FFmpeg's own limit: a row of 8 bytes a pixel and a margin, times rows and a margin, within 31 bits.
    if (height + 128) * (width + 128) >= 2**31 // 8:
        raise CodecError(f"FFmpeg holds no picture of {width}x{height} pixels: too many.")
    frame = _frame(width, height, pixel_format, offsets)
    for plane, content in zip(frame.planes, planes, strict=True):
        memory: Any = plane
        rows = np.frombuffer(memory, np.uint8).reshape(-1, plane.line_size)
        rows[: content.shape[0], : content.shape[1]] = content
    frame.pts = 0
    frame.time_base = _TIME_BASE
    context = av.CodecContext.create(codec, "w")
    if not isinstance(context, av.VideoCodecContext):
        raise CodecError(f"{codec!r} is no encoder of pictures.")
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.time_base = _TIME_BASE
    context.thread_count = 1
    context.options = dict(options)
    try:
        packets = [bytes(packet) for part in (frame, None) for packet in context.encode(part)]
    except av.FFmpegError as error:
        raise CodecError(f"{codec} does not encode {width}x{height} pixels with {dict(options)}: {error}.") from error
    if len(packets) != 1:
        raise CodecError(f"{codec} made {len(packets)} packets of one picture, with {dict(options)}.")
    return packets[0]


def rectangles(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Rectangles that cover all that is not 0: runs of a row, those below of the same run and value added to them.

    Args:
        values: int32 (rows, columns).

    Returns:
        int64 (n, 5): rows from and to, columns from and to, value.
    """
    bordered = np.pad(values, ((0, 0), (1, 1)))
    row, edge = np.nonzero(bordered[:, 1:] != bordered[:, :-1])
    value = bordered[row, edge + 1]
    # A run ends at the next edge of its row: where it is not background there is one.
    runs = np.flatnonzero(value)
    row, left, right, value = row[runs], edge[runs], edge[runs + 1] if len(runs) else edge[:0], value[runs]
    order = np.lexsort((row, value, right, left))
    row, left, right, value = row[order], left[order], right[order], value[order]
    continued = np.zeros(len(runs), bool)
    continued[1:] = (
        (left[1:] == left[:-1]) & (right[1:] == right[:-1]) & (value[1:] == value[:-1]) & (row[1:] == row[:-1] + 1)
    )
    first = np.flatnonzero(~continued)
    last = np.append(first[1:], len(runs)) - 1 if len(first) else first
    return np.stack([row[first], row[last] + 1, left[first], right[first], value[first]], axis=1).astype(np.int64)


def _frame(width: int, height: int, pixel_format: str, offsets: Offsets | None) -> VideoFrame:
    """A frame of undefined pixels with regions beside it."""
    import av
    from av.video.reformatter import VideoReformatter

    found = rectangles(offsets.numerators) if offsets is not None else np.zeros((0, 5), np.int64)
    if offsets is None or not len(found):
        return av.VideoFrame(width, height, pixel_format)
    # A frame that is scaled takes a copy of all beside it along.
    frame = VideoReformatter().reformat(_with_regions(len(found)), width, height, pixel_format, interpolation="POINT")
    beside = _beside(frame)
    regions = np.zeros(_count(frame), _REGION)
    # Those left over are empty.
    regions["size"], regions["offset"] = _REGION.itemsize, (0, 1)
    used = regions[: len(found)]
    used["top"], used["bottom"], used["left"], used["right"] = (found[:, :4] * offsets.side).T
    used["offset"][:, 0], used["offset"][:, 1] = found[:, 4], offsets.denominator
    ctypes.memmove(beside.buffer_ptr, regions.ctypes.data, regions.nbytes)
    return frame


_lock = Lock()
_models: list[VideoFrame] = []


def _with_regions(count: int) -> VideoFrame:
    """A small frame, of no encoder's format, that has at least so many regions; not to be written to."""
    import av

    with _lock:
        frame = _models[-1] if _models else av.VideoFrame(16, 16, "rgb24")
        have = _count(frame)
        if have < count:
            graph = av.filter.Graph()
            last = graph.add_buffer(width=16, height=16, format=av.VideoFormat("rgb24"), time_base=_TIME_BASE)
            for _ in range(_FILTERS):
                following = graph.add("addroi", "x=0:y=0:w=0:h=0:qoffset=0")
                last.link_to(following)
                last = following
            last.link_to(graph.add("buffersink"))
            graph.configure()
            # Each region is added by copying those before it: in steps that grow, the model is seldom made larger.
            for passes in range(-(-(max(count, have + have // 4) - have) // _FILTERS)):
                frame.pts, frame.time_base = passes, _TIME_BASE
                graph.vpush(frame)
                frame = graph.vpull()
            _models[:] = [frame]
        return frame


def _count(frame: VideoFrame) -> int:
    """Of the regions beside a frame."""
    beside = _beside(frame)
    return 0 if beside is None else beside.buffer_size // _REGION.itemsize


def _beside(frame: VideoFrame) -> Any:
    """The memory of a frame's regions, or None."""
    side_data: Any = frame.side_data
    return side_data.get("REGIONS_OF_INTEREST")
