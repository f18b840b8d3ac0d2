"""All macroblocks, one after another as they are coded.

Chroma comes first, since none of it depends on luma, so that luma can take back some of what chroma lost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled
from accelir_plugins.planar.planes import LUMA_FOR_CHROMA
from accelir_plugins.webp.macroblock import (
    FINE_MODES,
    Modes,
    Work,
    choose_fine,
    choose_square,
    code_chroma,
    rebuild,
)
from accelir_plugins.webp.predict import bordered
from accelir_plugins.webp.quantise import Costs
from accelir_plugins.ycbcr import doubled

__all__ = ["search"]

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# A macroblock without levels that has less error than so many bits are worth is not looked at more closely.
_FLAT = 6.0

# Which part of the error of chroma luma takes back of what it could: what is more takes more bits than it is worth.
_TAKEN_BACK = 0.6

# What luma takes back, in samples of the limited range.
_LUMA_FOR_CHROMA = np.float32(_TAKEN_BACK * 219 / 224) * LUMA_FOR_CHROMA


def search(
    luma: Bytes,
    chroma: Bytes,
    segments: Bytes,
    steps: npt.NDArray[np.int64],
    lagrangians: npt.NDArray[np.float64],
    weights: Floats,
    costs: Costs,
    room: float,
    tried: int,
) -> tuple[Modes, Bytes, Bytes]:
    """Choose for all macroblocks.

    Args:
        luma: uint8 (16 rows, 16 columns).
        chroma: uint8 (2, 8 rows, 8 columns).
        segments: uint8 (rows, columns): 0 to 3.
        steps: int64 (4, 6), by segment: of luma's DC and AC, of the DC and AC of luma's DC, of chroma's DC and AC.
        lagrangians: float64 (rows, columns): squared error of samples that is worth a bit, above 0.
        weights: float32 (rows, columns, 2, 16): what squared error of the coefficients of 4x4 blocks counts, row-major,
            of luma and of chroma.
        costs: See `quantise.costs_of`.
        room: Bits that the modes of one macroblock's 4x4 blocks may take.
        tried: How many modes of a 4x4 block are tried in earnest.

    Returns:
        The modes, and the samples that decoders make before their filter, with borders: uint8 (16 rows + 1, 16
        columns + 1) and (2, 8 rows + 1, 8 columns + 1).
    """
    rows, columns = segments.shape
    modes = Modes(
        square=np.zeros((rows, columns), np.uint8),
        fine=np.zeros((4 * rows + 1, 4 * columns + 1), np.uint8),
        chroma=np.zeros((rows, columns), np.uint8),
        levels=np.zeros((rows, columns, 25, 16), np.int16),
        bits=np.zeros((rows, columns), np.float32),
    )
    decoded = bordered(16 * rows, 16 * columns)
    halves = np.stack([bordered(8 * rows, 8 * columns)] * 2)
    work = Work(
        tile=np.zeros((16, 16), np.float32),
        lanes=np.zeros((16, 64), np.float32),
        costs=np.zeros(64, np.float32),
        means=np.zeros(64, np.float32),
        sources=np.zeros(26, np.float32),
        right=np.zeros(4, np.float32),
        coefficients=np.zeros((17, 16), np.float32),
        dequantised=np.zeros(16, np.int64),
        ways=np.zeros((16, 3), np.int64),
        square_levels=np.zeros((17, 16), np.int16),
        fine_levels=np.zeros((16, 16), np.int16),
        fine_modes=np.zeros(16, np.int64),
        nonzero=np.zeros(8, np.int64),
    )
    _search_chroma(chroma, segments, steps, lagrangians, weights, costs, modes, halves, work)
    errors = chroma - halves[:, 1:, 1:].astype(np.float32)
    lost = _LUMA_FOR_CHROMA[0] * errors[0] + _LUMA_FOR_CHROMA[1] * errors[1]
    wanted = np.clip(luma + doubled(lost, *luma.shape), 0, 255)
    _search_luma(wanted, segments, steps, lagrangians, weights, costs, room, tried, modes, decoded, work)
    return modes, decoded, halves


@compiled
def _search_chroma(
    chroma: Bytes,
    segments: Bytes,
    steps: npt.NDArray[np.int64],
    lagrangians: npt.NDArray[np.float64],
    weights: Floats,
    costs: Costs,
    modes: Modes,
    halves: Bytes,
    work: Work,
) -> None:
    rows, columns = segments.shape
    # Whether the neighbours' blocks have levels other than 0: two of Cb and two of Cr, behind four of luma.
    above = np.zeros((columns, 9), np.int64)
    left = np.zeros(9, np.int64)
    for row in range(rows):
        left[:] = 0
        for column in range(columns):
            modes.bits[row, column] = code_chroma(
                row, column, steps[segments[row, column]], lagrangians[row, column], costs, weights[row, column, 1],
                chroma, modes, halves, above[column], left, work,
            )  # fmt: skip


@compiled
def _search_luma(
    luma: Floats,
    segments: Bytes,
    steps: npt.NDArray[np.int64],
    lagrangians: npt.NDArray[np.float64],
    weights: Floats,
    costs: Costs,
    room: float,
    tried: int,
    modes: Modes,
    decoded: Bytes,
    work: Work,
) -> None:
    rows, columns = segments.shape
    # Whether the neighbours' blocks have levels other than 0: four of luma, four of chroma, DC of luma.
    above = np.zeros((columns, 9), np.int64)
    left = np.zeros(9, np.int64)
    for row in range(rows):
        left[:] = 0
        for column in range(columns):
            lagrangian = lagrangians[row, column]
            own, counts = steps[segments[row, column]], weights[row, column, 0]
            for block in range(16):
                for at in range(16):
                    y, x = 16 * row + block // 4 * 4 + at // 4, 16 * column + block % 4 * 4 + at % 4
                    work.tile[block, at] = luma[y, x]
            mode, error, bits, some = choose_square(
                row, column, own, lagrangian, costs, counts, decoded, above[column], left, work
            )
            cost, fine = error + lagrangian * bits, False
            if some or error > _FLAT * lagrangian:
                fine, fine_bits = choose_fine(
                    row, column, own, lagrangian, costs, counts, room, tried, cost, modes, decoded, above[column], left,
                    work,
                )  # fmt: skip
            if fine:
                bits = fine_bits
                modes.square[row, column] = FINE_MODES
                for at in range(4):
                    above[column, at], left[at] = work.nonzero[at], work.nonzero[4 + at]
                _copy(work.fine_levels, modes.levels[row, column])
            else:
                modes.square[row, column] = mode
                for block in range(16):
                    modes.fine[4 * row + block // 4 + 1, 4 * column + block % 4 + 1] = mode
                _copy(work.square_levels, modes.levels[row, column])
                rebuild(row, column, own, mode, decoded, above[column], left, work)
            modes.bits[row, column] += bits


@compiled
def _copy(levels: npt.NDArray[np.int16], place: npt.NDArray[np.int16]) -> None:
    """Levels of luma where they belong: int16 (16 or 17, 16) into (25, 16)."""
    for block in range(len(levels)):
        for at in range(16):
            place[block if block < 16 else 24, at] = levels[block, at]
