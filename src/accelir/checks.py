"""What callers hand over, looked at before it is used."""

from __future__ import annotations

import numpy as np

__all__ = ["as_number"]


def as_number(value: object) -> float:
    """As a float; NaN for what is no number."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf
