"""One picture as HEVC by x265, and the HEIF file around it."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelir.errors import CodecError
from accelir.threads import allowed
from accelir_plugins import isobmff, video

__all__ = [
    "BLOCK",
    "CHOICES",
    "COARSEST",
    "FINEST",
    "coded_size",
    "encode",
    "nal_units",
    "quantisers",
    "still",
    "written",
]

Plane = npt.NDArray[np.uint8]

BLOCK = 32
"""Side of a coding tree unit, and of the blocks whose quantisers differ, in pixels."""

FINEST, COARSEST = 0, 51
"""HEVC's quantisers for 8 bits."""

# One block: FFmpeg refuses pictures of less than 16, and lowers the block of those below 32.
_SMALLEST_SIDE = BLOCK

CHOICES = {
    "ctu": str(BLOCK),
    "psy-rd": "0",
    "psy-rdoq": "0",
    "tu-intra-depth": "3",
    # Filters for the eye take away what the network could use.
    "sao": "0",
    "deblock": "-2,-2",
}
"""What differs from x265's preset "slow", by the squared error after decoding and after restoration."""

_OPTIONS = {
    **CHOICES,
    # One intra picture, of the profile Main Still Picture where it has colour.
    "keyint": "1",
    "total-frames": "1",
    "bframes": "0",
    "ref": "1",
    "rc-lookahead": "0",
    "lookahead-slices": "0",
    "scenecut": "0",
    "weightp": "0",
    "cutree": "0",
    # With complexity out of it, "crf" is the quantiser; "qp" would not let blocks differ.
    "qcomp": "1",
    # Without adaptive quantisation, x265 does not heed regions; of a strength that rounds to nothing it does.
    "aq-mode": "1",
    "aq-strength": "0.000001",
    "qg-size": str(BLOCK),
    "info": "0",
    "log-level": "none",
    "frame-threads": "1",
}

# Pixels from which rows of blocks are coded at the same time: a bit larger, but as fast as there are processors.
_LARGE = 1 << 20

_VPS, _SPS, _PPS = 32, 33, 34


def quantisers(log_steps: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """HEVC's quantiser for each block: that above or below the wanted step.

    One number added to all steps changes the quantisers one after the other, so that sizes change smoothly.

    Args:
        log_steps: float32 (rows, columns): the log2 of the wanted step.

    Returns:
        int32 (rows, columns), `FINEST` to `COARSEST`.
    """
    # Neighbours have nearly the same threshold, so that few quantisers differ from those before: that takes bits.
    threshold = ((np.arange(log_steps.size) + 0.5) / log_steps.size).reshape(log_steps.shape)
    wanted = 4 + 6 * log_steps.astype(np.float64)
    return np.clip(np.floor(wanted + threshold), FINEST, COARSEST).astype(np.int32)


def written(quantisers: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """The log2 of the steps of quantisers."""
    return ((quantisers - 4) / 6).astype(np.float32)


def encode(
    planes: Sequence[Plane], quantisers: npt.NDArray[np.int32], *, chroma_offset: int = 0, shape: float = 0.0
) -> bytes:
    """The stream of one picture, each NAL unit behind a start code.

    Args:
        planes: uint8: luma (H, W), and for colour two of chroma, half of both sides rounded up.
        quantisers: int32 (rows, columns) of blocks of `BLOCK` pixels.
        chroma_offset: Of the quantiser of chroma to that of luma, -12 to 12.
        shape: By which share the step of the highest frequency is larger than that of the lowest.

    Raises:
        CodecError: x265 does not take the picture.
    """
    coded = coded_size(planes[0].shape[1], planes[0].shape[0])
    fitted = [_extended(planes[0], *coded), *(_extended(half, coded[0] // 2, coded[1] // 2) for half in planes[1:])]
    base = int(np.median(quantisers))
    options = {**_OPTIONS, "crf": str(base), "cbqpoffs": str(chroma_offset), "crqpoffs": str(chroma_offset)}
    if planes[0].size >= _LARGE:
        options["pools"] = str(allowed())
    else:
        options["wpp"], options["pools"] = "0", "none"
    with _scaling_lists(shape) as path:
        if path is not None:
            options["scaling-list"] = path
        parameters = ":".join(f"{name}={_escaped(value)}" for name, value in options.items())
        return video.encode(
            fitted,
            "libx265",
            {"preset": "slow", "x265-params": parameters},
            video.Offsets(quantisers - base, COARSEST, BLOCK),
            "gray" if len(planes) == 1 else "yuvj420p",
        )


def coded_size(width: int, height: int) -> tuple[int, int]:
    """Of the picture that holds one of this width and height: even sides, of at least one block."""
    across, down = (max(_SMALLEST_SIDE, side + side % 2) for side in (width, height))
    return across, down


def still(stream: bytes, width: int, height: int, *, monochrome: bool = False) -> bytes:
    """The HEIF file of a stream.

    Args:
        stream: One picture in full range, BT.601 luma and chroma of sRGB, each NAL unit behind a start code.
        width: Of what is shown, in pixels.
        height: Of what is shown, in pixels.
        monochrome: Whether it has luma alone.

    Raises:
        CodecError: The stream lacks a part.
    """
    units = list(nal_units(stream))
    parameters = {kind: [unit for unit in units if _kind(unit) == kind] for kind in (_VPS, _SPS, _PPS)}
    pictures = [unit for unit in units if _kind(unit) < _VPS]
    if not all([*parameters.values(), pictures]):
        raise CodecError("x265 wrote no picture, or not what it takes to decode it.")
    coded = coded_size(width, height)
    properties = [
        isobmff.Property(_decoder_configuration(parameters, monochrome), essential=True),
        isobmff.size(*coded),
        isobmff.depth(1 if monochrome else 3),
        isobmff.colour(1, 13, 6, full_range=True),
    ]
    if coded != (width, height):
        properties.append(isobmff.crop(coded, (width, height)))
    data = b"".join(struct.pack(">I", len(unit)) + unit for unit in pictures)
    # Pictures of luma alone are of the range extensions.
    brand = b"heix" if monochrome else b"heic"
    return isobmff.write(isobmff.Still((brand, b"mif1", brand), (isobmff.Item(1, b"hvc1", data, tuple(properties)),)))


def nal_units(stream: bytes) -> Iterator[bytes]:
    """The units behind start codes."""
    for unit in stream.split(b"\0\0\1")[1:]:
        # A zero before the start code belongs to it; a unit does not end in one.
        yield unit.rstrip(b"\0")


def _kind(unit: bytes) -> int:
    return unit[0] >> 1 & 63


def _decoder_configuration(parameters: dict[int, list[bytes]], monochrome: bool) -> bytes:
    """The box ``hvcC`` (ISO/IEC 14496-15, 8.3.3.1)."""
    # Profile and level stand at the same place in every sequence parameter set, behind its header and one byte.
    plain = parameters[_SPS][0].replace(b"\0\0\3", b"\0\0")
    profile_and_level = plain[3:15]
    arrays = b"".join(
        # The bit says that there are no others in the picture itself.
        struct.pack(">BH", 0x80 | kind, len(units)) + b"".join(struct.pack(">H", len(unit)) + unit for unit in units)
        for kind, units in parameters.items()
    )
    # No segmentation, no parallelism told, format of chroma, 8 bits twice, frame rate, lengths of 4 bytes, 3 arrays;
    # reserved bits are 1.
    fixed = struct.pack(">HBBBBHBB", 0xF000, 0xFC, 0xFC | (not monochrome), 0xF8, 0xF8, 0, 0x0F, len(parameters))
    return isobmff.box(b"hvcC", b"\1", profile_and_level, fixed, arrays)


def _extended(plane: Plane, width: int, height: int) -> Plane:
    """A plane with its last column and row repeated."""
    missing = height - plane.shape[0], width - plane.shape[1]
    if not any(missing):
        return plane
    return np.pad(plane, ((0, missing[0]), (0, missing[1])), mode="edge")


@contextmanager
def _scaling_lists(shape: float) -> Iterator[str | None]:
    """The path of a file of scaling lists while it lasts; None where all are flat."""
    if not shape:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="accelir-") as folder:
        path = Path(folder) / "lists"
        path.write_text(_scaling_list_file(shape), encoding="ascii")
        yield str(path)


def _scaling_list_file(shape: float) -> str:
    """As x265 reads it: each list by name, 16 being a factor of 1; of transforms of 16 and 32 also that of DC."""
    parts = []
    for size in (4, 8, 16, 32):
        side = min(size, 8)
        frequency = np.arange(side) / side
        distance = np.hypot(frequency[:, None], frequency) / np.sqrt(2)
        values = np.clip(np.rint(16 * (1 + shape * distance)), 1, 255).astype(int)
        for prediction in ("INTRA", "INTER"):
            for channel in ("LUMA", "CHROMAU", "CHROMAV"):
                name = f"{prediction}{size}X{size}_{channel}"
                parts += [name, *(",".join(map(str, row)) + "," for row in values)]
                if size > 8:
                    parts += [f"{name}_DC", "16,"]
    return "\n".join(parts) + "\n"


def _escaped(value: str) -> str:
    """For FFmpeg's lists of options."""
    return re.sub(r"([\\':=])", r"\\\1", value)
