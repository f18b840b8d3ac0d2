"""From a step for each block to the four quantisers that a VP8 frame may have, and which block takes which."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["cluster"]

Numbers = npt.NDArray[np.float64]
Steps = npt.NDArray[np.float32]

# Excess bits of one significant coefficient whose quantiser is off by one octave, to second order. It would be
# log(2) if the Lagrangian were off with it.
_EXCESS = 0.3

# Bits that segments take in the header.
_HEADER = 60


def cluster(log_steps: Steps, logs: Numbers, significant: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The quantiser of each block, four different ones at most: those that cost least.

    The cost is what quantisers other than those wanted take in bits at equal error, and the bits of the map. Blocks
    with the same wish have the same quantiser.

    Args:
        log_steps: float32 (rows, columns): the log2 of the steps wanted.
        logs: float64 (n,): the log2 of the step of each quantiser, ascending.
        significant: float32 (rows, columns), above 0: about how many coefficients of each block are not lost.

    Returns:
        int64 (rows, columns): indices of ``logs``.
    """
    wanted = np.clip(log_steps.ravel().astype(np.float64), logs[0], logs[-1])
    chosen = _cheapest(wanted, significant.ravel().astype(np.float64), logs)
    halfway = (logs[chosen[1:]] + logs[chosen[:-1]]) / 2
    return np.asarray(chosen[np.searchsorted(halfway, wanted)].reshape(log_steps.shape))


def _cheapest(wanted: Numbers, weights: Numbers, logs: Numbers) -> npt.NDArray[np.int64]:
    """The quantisers, ascending: by dynamic programming over those within what is wanted."""
    order = np.argsort(wanted, kind="stable")
    values = wanted[order]
    sums = np.zeros((3, len(values) + 1))
    for power in range(3):
        np.cumsum(weights[order] * values**power, out=sums[power, 1:])
    lowest = max(int(np.searchsorted(logs, values[0])) - 1, 0)
    highest = min(int(np.searchsorted(logs, values[-1])), len(logs) - 1)
    candidates = np.arange(lowest, highest + 1)
    steps = logs[candidates]

    def cost(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], step: Numbers) -> Numbers:
        """Of blocks from one place in the order to another, with a step."""
        none, once, twice = (total[end] - total[start] for total in sums)
        return np.maximum(twice - 2 * step * once + step**2 * none, 0)

    places = np.searchsorted(values, steps)
    halfway = np.searchsorted(values, (steps[:, None] + steps[None, :]) / 2)
    # Of all blocks between two quantisers, each with the nearer.
    before, after = np.broadcast_to(places[:, None], halfway.shape), np.broadcast_to(places[None, :], halfway.shape)
    between = cost(before, halfway, steps[:, None]) + cost(halfway, after, steps[None, :])
    between[np.tril_indices(len(steps))] = np.inf
    costs = cost(np.zeros_like(places), places, steps)
    last = cost(places, np.full_like(places, len(values)), steps)

    found, least = candidates[:1], np.inf
    origins: list[npt.NDArray[np.int64]] = []
    for chosen in range(min(4, len(steps))):
        path = [int((costs + last).argmin())]
        total = _EXCESS * float((costs + last)[path[0]])
        for origin in reversed(origins):
            path.append(int(origin[path[-1]]))
        path.reverse()
        bounds = [
            0,
            *(int(halfway[lower, upper]) for lower, upper in pairwise(path)),
            len(values),
        ]
        shares = np.diff(bounds) / len(values)
        shares = shares[shares > 0]
        if chosen:
            total += _HEADER - len(values) * float((shares * np.log2(shares)).sum())
        if total < least:
            found, least = candidates[path], total
        onward = costs[:, None] + between
        origins.append(onward.argmin(axis=0))
        costs = onward.min(axis=0)
    return found
