"""From a step for each block to the four quantisers that a VP8 frame may have, and which block takes which.

libvpx is given a base quantiser and three differences to it, each one of 64 numbers. It weighs bits against error by
the base alone, so the base is near the mean of all steps; the other three are the best for what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BASES", "Segments", "cluster"]

Steps = npt.NDArray[np.float32]

# The quantiser index that each of libvpx's 64 qualities, or differences of quality, stands for.
BASES = np.concatenate(
    [
        [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 15],
        np.arange(17, 22),
        np.arange(23, 32),
        np.arange(33, 62, 2),
        np.arange(64, 128, 3),
    ]
)

# Octaves by which the mean of all steps may miss what is wanted: about half a per cent of the size.
_TOLERANCE = 0.006

# Excess bits of one significant coefficient whose step is off by one octave, to second order.
_EXCESS = np.log(2)

# Bits that segments take in the header.
_HEADER = 60

# At most about so many patches of dither: they are rectangles later.
_PATCHES = 1024


@dataclass(frozen=True, eq=False)
class Segments:
    """What to ask libvpx for.

    Attributes:
        base: Of `BASES`.
        differences: int32 (rows, columns): of quality, -63 to 63, of at most three values beside 0.
        indices: int64 (rows, columns): the quantiser index that results.
    """

    base: int
    differences: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int64]


def cluster(log_steps: Steps, logs: npt.NDArray[np.float64], significant: npt.NDArray[np.float32]) -> Segments:
    """The segments that cost least, with the steps wanted on average.

    The cost is what steps other than those wanted take in bits at equal error, and the bits of the map. As one number
    is added to all steps, the mean of those written follows it.

    Args:
        log_steps: float32 (rows, columns): the log2 of the steps wanted.
        logs: float64 (128,): the log2 of the step of each quantiser index, ascending.
        significant: float32 (rows, columns), above 0: about how many coefficients of each block are not lost.
    """
    wanted = np.clip(log_steps.ravel().astype(np.float64), logs[0], logs[-1])
    weights = significant.ravel().astype(np.float64)
    mean = float((wanted * weights).sum() / weights.sum())
    base = int(np.abs(logs[BASES] - mean).argmin())
    reached = BASES[base] + np.concatenate([-BASES[:0:-1], BASES])
    reached = reached[(reached >= 0) & (reached < len(logs))]
    centres = _cheapest(wanted, weights, logs, reached, int(BASES[base]))
    if len(centres) == 1 and abs(logs[centres[0]] - mean) > _TOLERANCE:
        # Two neighbours around what is wanted.
        above = int(np.clip(np.searchsorted(logs[reached], mean), 1, len(reached) - 1))
        centres = reached[above - 1 : above + 1]
    chosen = _assigned(wanted, weights, logs, centres, log_steps.shape)
    differences = centres - BASES[base]
    signed = np.sign(differences) * np.searchsorted(BASES, np.abs(differences))
    return Segments(
        base=base,
        differences=signed[chosen].astype(np.int32).reshape(log_steps.shape),
        indices=centres[chosen].reshape(log_steps.shape),
    )


def _cheapest(
    wanted: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    logs: npt.NDArray[np.float64],
    reached: npt.NDArray[np.int64],
    base: int,
) -> npt.NDArray[np.int64]:
    """The quantiser indices, the base among them, ascending: by dynamic programming over those that can be reached."""
    order = np.argsort(wanted, kind="stable")
    values = wanted[order]
    sums = np.zeros((3, len(values) + 1))
    for power in range(3):
        np.cumsum(weights[order] * values**power, out=sums[power, 1:])

    def cost(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], centre: npt.NDArray[np.float64]) -> Costs:
        """Of blocks from one place in the order to another, at a step."""
        none, once, twice = (total[end] - total[start] for total in sums)
        return np.maximum(twice - 2 * centre * once + centre**2 * none, 0)

    # Quantisers beyond what is wanted serve nobody.
    kept = (reached >= np.searchsorted(logs, values[0]) - 1) & (reached <= np.searchsorted(logs, values[-1]) + 1)
    reached = reached[kept | (reached == base)]
    steps = logs[reached]
    count = len(reached)
    own = int(np.flatnonzero(reached == base)[0])
    places = np.searchsorted(values, steps)
    halfway = np.searchsorted(values, (steps[:, None] + steps[None, :]) / 2)
    # Of all blocks between two chosen quantisers, each with the nearer.
    before, after = np.broadcast_to(places[:, None], halfway.shape), np.broadcast_to(places[None, :], halfway.shape)
    between = cost(before, halfway, steps[:, None]) + cost(halfway, after, steps[None, :])
    between[np.tril_indices(count)] = np.inf
    # None but the base may be passed over.
    between[:own, own + 1 :] = np.inf
    first = cost(np.zeros_like(places), places, steps)
    first[own + 1 :] = np.inf
    last = cost(places, np.full_like(places, len(values)), steps)
    last[:own] = np.inf

    found, best = np.array([base]), np.inf
    costs = first
    origins: list[npt.NDArray[np.int64]] = []
    for chosen in range(4):
        end = int((costs + last).argmin())
        path = [end]
        for origin in reversed(origins):
            path.append(int(origin[path[-1]]))
        bounds = np.concatenate([[0], halfway[path[:0:-1], path[-2::-1]], [len(values)]])
        shares = np.diff(bounds) / len(values)
        shares = shares[shares > 0]
        total = _EXCESS * (costs + last)[end]
        if chosen:
            total += _HEADER - len(values) * float((shares * np.log2(shares)).sum())
        if total < best:
            found, best = reached[path[::-1]], total
        sums_of_two = costs[:, None] + between
        origins.append(sums_of_two.argmin(axis=0))
        costs = sums_of_two.min(axis=0)
    return found


Costs = npt.NDArray[np.float64]


def _assigned(
    wanted: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    logs: npt.NDArray[np.float64],
    centres: npt.NDArray[np.int64],
    shape: tuple[int, int],
) -> npt.NDArray[np.int64]:
    """Which of the quantisers each block takes: the nearest, all moved so far that the mean is what is wanted."""
    steps = logs[centres]
    if len(centres) == 1:
        return np.zeros(len(wanted), np.int64)
    # Equal wishes are told apart, so that the mean can be any.
    dithered = wanted + (_pattern(shape).ravel() - 0.5) * np.diff(steps).min()
    bounds = (steps[1:] + steps[:-1]) / 2
    aim = float((wanted * weights).sum())
    below, above = -2.0, 2.0
    for _ in range(40):
        moved = (below + above) / 2
        chosen = np.searchsorted(bounds, dithered + moved)
        if float((steps[chosen] * weights).sum()) < aim:
            below = moved
        else:
            above = moved
    either = [np.searchsorted(bounds, dithered + moved) for moved in (below, above)]
    return min(either, key=lambda chosen: abs(float((steps[chosen] * weights).sum()) - aim))


def _pattern(shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Numbers above 0 and below 1, spread evenly over any part of the picture, in patches."""
    side = max(1, round(np.sqrt(shape[0] * shape[1] / _PATCHES)))
    order = np.zeros((1, 1))
    for _ in range(4):
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    rows, columns = (np.arange(length) // side % len(order) for length in shape)
    return np.asarray((order[rows][:, columns] + 0.5) / order.size)
