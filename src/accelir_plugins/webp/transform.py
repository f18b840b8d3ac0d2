"""The transforms of VP8 (RFC 6386, section 14): forwards to twice an orthonormal one, backwards as decoders do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled

__all__ = ["forward", "forward_walsh", "inverse", "inverse_walsh", "turned"]

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

_LONG = np.float32(np.sqrt(2) * np.cos(np.pi / 8))
_SHORT = np.float32(np.sqrt(2) * np.sin(np.pi / 8))
_HALF = np.float32(0.5)

# The same as decoders have them: the longer less 1, both times 65536.
_LONG_LESS_ONE = 20091
_SHORT_WHOLE = 35468


@compiled
def turned(first: Any, second: Any, third: Any, fourth: Any) -> Any:
    """The DCT of four numbers, times the root of two."""
    outer, inner = first + fourth, second + third
    outer_difference, inner_difference = first - fourth, second - third
    return (
        outer + inner,
        outer_difference * _LONG + inner_difference * _SHORT,
        outer - inner,
        outer_difference * _SHORT - inner_difference * _LONG,
    )


@compiled
def forward(lanes: Floats, lane: int, coefficients: Floats, block: int) -> None:
    """From differences of samples to coefficients.

    Args:
        lanes: float32 (16, lanes), row-major.
        lane: Which of the differences.
        coefficients: float32 (blocks, 16), row-major: one block is written.
        block: Which.
    """
    for row in range(0, 16, 4):
        first, second, third, fourth = turned(
            lanes[row, lane], lanes[row + 1, lane], lanes[row + 2, lane], lanes[row + 3, lane]
        )
        coefficients[block, row], coefficients[block, row + 1] = first, second
        coefficients[block, row + 2], coefficients[block, row + 3] = third, fourth
    for column in range(4):
        first, second, third, fourth = turned(
            coefficients[block, column],
            coefficients[block, column + 4],
            coefficients[block, column + 8],
            coefficients[block, column + 12],
        )
        coefficients[block, column], coefficients[block, column + 4] = _HALF * first, _HALF * second
        coefficients[block, column + 8], coefficients[block, column + 12] = _HALF * third, _HALF * fourth


@compiled
def inverse(
    coefficients: Numbers,
    tile: Floats,
    block: int,
    lanes: Floats,
    lane: int,
    plane: npt.NDArray[np.uint8],
    y: int,
    x: int,
) -> None:
    """Add what coefficients stand for to a prediction.

    Args:
        coefficients: int64 (16,), row-major; overwritten.
        tile: float32 (blocks, 16), row-major: the samples wanted.
        block: Which of them.
        lanes: float32 (16, lanes), row-major: what they differ by from predictions.
        lane: Which of these.
        plane: uint8: where the samples go.
        y: Their first row.
        x: Their first column.
    """
    for column in range(4):
        first, second = coefficients[column], coefficients[column + 4]
        third, fourth = coefficients[column + 8], coefficients[column + 12]
        even, odd = first + third, first - third
        short = ((second * _SHORT_WHOLE) >> 16) - fourth - ((fourth * _LONG_LESS_ONE) >> 16)
        long = second + ((second * _LONG_LESS_ONE) >> 16) + ((fourth * _SHORT_WHOLE) >> 16)
        coefficients[column], coefficients[column + 12] = even + long, even - long
        coefficients[column + 4], coefficients[column + 8] = odd + short, odd - short
    for row in range(4):
        at = 4 * row
        first, second, third, fourth = (
            coefficients[at],
            coefficients[at + 1],
            coefficients[at + 2],
            coefficients[at + 3],
        )
        even, odd = first + third + 4, first - third + 4
        short = ((second * _SHORT_WHOLE) >> 16) - fourth - ((fourth * _LONG_LESS_ONE) >> 16)
        long = second + ((second * _LONG_LESS_ONE) >> 16) + ((fourth * _SHORT_WHOLE) >> 16)
        plane[y + row, x] = _sample(tile[block, at] - lanes[at, lane], (even + long) >> 3)
        plane[y + row, x + 1] = _sample(tile[block, at + 1] - lanes[at + 1, lane], (odd + short) >> 3)
        plane[y + row, x + 2] = _sample(tile[block, at + 2] - lanes[at + 2, lane], (odd - short) >> 3)
        plane[y + row, x + 3] = _sample(tile[block, at + 3] - lanes[at + 3, lane], (even - long) >> 3)


@compiled
def forward_walsh(coefficients: Floats) -> None:
    """The DC coefficients of 16 blocks become a block of their own.

    Args:
        coefficients: float32 (17 or more, 16): from the first of each of 16 blocks the 17th is written.
    """
    for row in range(0, 16, 4):
        first, second, third, fourth = _hadamard(
            coefficients[row, 0], coefficients[row + 1, 0], coefficients[row + 2, 0], coefficients[row + 3, 0]
        )
        coefficients[16, row], coefficients[16, row + 1] = first, second
        coefficients[16, row + 2], coefficients[16, row + 3] = third, fourth
    for column in range(4):
        first, second, third, fourth = _hadamard(
            coefficients[16, column],
            coefficients[16, column + 4],
            coefficients[16, column + 8],
            coefficients[16, column + 12],
        )
        coefficients[16, column], coefficients[16, column + 4] = _HALF * first, _HALF * second
        coefficients[16, column + 8], coefficients[16, column + 12] = _HALF * third, _HALF * fourth


@compiled
def inverse_walsh(block: Numbers) -> None:
    """Back to DC coefficients, in place: int64 (16,)."""
    for column in range(4):
        block[column], block[column + 4], block[column + 8], block[column + 12] = _hadamard(
            block[column], block[column + 4], block[column + 8], block[column + 12]
        )
    for row in range(0, 16, 4):
        first, second, third, fourth = _hadamard(block[row], block[row + 1], block[row + 2], block[row + 3])
        block[row], block[row + 1] = (first + 3) >> 3, (second + 3) >> 3
        block[row + 2], block[row + 3] = (third + 3) >> 3, (fourth + 3) >> 3


@compiled
def _hadamard(first: Any, second: Any, third: Any, fourth: Any) -> Any:
    outer, inner = first + fourth, second + third
    outer_difference, inner_difference = first - fourth, second - third
    return (
        outer + inner,
        outer_difference + inner_difference,
        outer - inner,
        outer_difference - inner_difference,
    )


@compiled
def _sample(predicted: Any, difference: int) -> int:
    return min(max(int(predicted) + difference, 0), 255)
