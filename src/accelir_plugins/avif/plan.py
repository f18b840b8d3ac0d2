"""From the steps that are wanted to what libaom has to be told for them.

libaom's ``enable-rate-guide-deltaq`` takes a file with the share of the rate that each superblock is to get. It makes
the step of a superblock finer than the common one by as many octaves as the share exceeds that of its own estimate
(`survey`), the mean share being 1::

    log2(step / base) = 1 - share,    share = (wanted / sum of wanted) / (estimated / sum of estimates)

It then rounds to a multiple of four in the index of the quantiser, within forty of the base, and makes no superblock
much coarser than the base that has detail (`Survey.room`). Here this is turned round: the base and the shares that come
nearest to given steps. The mean need not be kept, since what lies at a limit anyway may have any share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelir_plugins.avif.survey import Survey
from accelir_plugins.avif.tables import DC, LOG_STEPS, index_of
from accelir_plugins.planar.needs import Steps

__all__ = ["BASES", "GRID", "Plan", "even_plan", "plan"]

GRID = 4
"""Indices of superblocks differ from the base by multiples of this."""

BASES = range(20, 245, GRID)
"""Bases that a file with different superblocks may have."""

_FARTHEST = 40

# Beyond these libaom clips.
_FINEST, _COARSEST = GRID, 256 - GRID

# The bases of files with one quantiser: of libaom's 64 quality levels, but the lossless one.
_LEVELS = np.array([*range(4, 245, 4), 249, 255])

# Shares are written as integers: no locale has another sign for the decimal point.
_LARGEST_SHARE = 10**6

# So much beyond what a limit takes that it is surely reached, in octaves.
_SURELY = 0.05

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Plan:
    """What to tell libaom, and what comes of it.

    Attributes:
        base: The index of the common quantiser.
        shares: int64 (rows, columns): of the rate, for each superblock; None where all have the base.
        indices: int64 (rows, columns): the quantisers of superblocks.
    """

    base: int
    shares: Indices | None
    indices: Indices

    @property
    def log_steps(self) -> Steps:
        """log2 of the steps, float32 (rows, columns)."""
        return LOG_STEPS[self.indices].astype(np.float32)


def even_plan(log_steps: Steps) -> Plan:
    """One quantiser for all, nearest to the mean."""
    index = float(index_of(np.array([log_steps.mean(dtype=np.float64)], np.float32))[0])
    base = int(_LEVELS[np.argmin(np.abs(_LEVELS - index))])
    return Plan(base, None, np.full(log_steps.shape, base))


def plan(log_steps: Steps, look: Survey) -> Plan:
    """The plan that comes nearest to some steps.

    Between the indices that libaom can write, superblocks take one or the other by a fixed pattern, so that the size
    of the file moves in small steps.

    Args:
        log_steps: float32 (rows, columns): log2 of the steps wanted.
        look: At the picture.
    """
    wanted = np.clip(GRID * np.floor(index_of(log_steps) / GRID + _pattern(log_steps.shape)), _FINEST, _COARSEST)
    wanted = wanted.astype(np.int64)
    if wanted.min() == wanted.max() or wanted.max() <= BASES[0]:
        return even_plan(LOG_STEPS[wanted].astype(np.float32))
    best, least = None, np.inf
    for base in reversed(range(max(int(wanted.min()), BASES[0]), min(int(wanted.max()), BASES[-1]) + GRID, GRID)):
        shares = _shares(wanted, base, look)
        if shares.sum() <= 0:
            continue
        indices = _indices(shares, base, look)
        error = float(((LOG_STEPS[indices] - LOG_STEPS[wanted]) ** 2).sum())
        if error < least:
            best, least = Plan(base, shares, indices), error
        if not error:
            break
    return best or even_plan(log_steps)


def _pattern(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Numbers 0..1, those of any few neighbours spread evenly (the R2 sequence), 0.5 on average."""
    rows, columns = shape
    return (0.7548776662466927 * np.arange(rows)[:, None] + 0.5698402909980532 * np.arange(columns) + 0.5) % 1


def _shares(wanted: Indices, base: int, look: Survey) -> Indices:
    """Shares of the rate by which superblocks become what is wanted, as far as that goes."""
    room = DC[base] * np.sqrt(look.room)
    coarsest = np.searchsorted(DC, room, side="right") - 1
    coarsest = base + np.minimum((coarsest - base) // GRID * GRID, _FARTHEST)
    finest = max(base - _FARTHEST, _FINEST)
    indices = np.clip(wanted, finest, np.minimum(coarsest, _COARSEST))
    # The middle of the DC steps that libaom takes for an index.
    finer = (DC[indices] + DC[np.minimum(indices + 1, 255)] - 1) / 2
    coarser = (DC[np.maximum(indices - 1, 0)] + 1 + DC[indices]) / 2
    steps = np.where(indices < base, finer, np.where(indices > base, coarser, DC[base]))
    shares = 1 + np.log2(DC[base] / steps)
    at_least, at_most = indices == base - _FARTHEST, indices == coarsest
    shares = np.where(at_least, shares + _SURELY, shares)
    # The mean share is 1: what is at a limit takes the rest.
    excess = float((look.costs * (shares - 1)).sum())
    free = at_most if excess > 0 else at_least
    if free.any():
        shares = np.where(free, shares - excess / look.costs[free].sum(), shares)
    weighted = shares * look.costs
    return np.rint(weighted * (_LARGEST_SHARE / np.abs(weighted).max())).astype(np.int64)


def _indices(shares: Indices, base: int, look: Survey) -> Indices:
    """The quantisers that libaom makes of shares."""
    octaves = 1 - shares * (look.costs.sum() / shares.sum()) / look.costs
    steps = np.rint(DC[base] * np.minimum(np.exp2(np.clip(octaves, -16, 16)), np.sqrt(look.room))).astype(np.int64)
    finer = np.searchsorted(DC[:base], steps, side="right") - 1
    coarser = base + 1 + np.searchsorted(DC[base + 1 :], steps)
    indices = np.where(steps < DC[base], finer, np.where(steps > DC[base], coarser, base))
    indices = np.clip(indices, max(base - _FARTHEST + 1, _FINEST), min(base + _FARTHEST - 1, _COARSEST))
    # To the grid: one more or one less counts as on it, and what lies between goes towards the superblock before,
    # which is mostly near the base.
    ahead = indices - base
    return np.asarray(base + GRID * (np.where(ahead > 0, ahead + 1, ahead + 2) // GRID))
