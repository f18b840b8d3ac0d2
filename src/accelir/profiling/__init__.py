"""Profiling: what a network needs from a codec, learned once, foretold for every image after that."""

from accelir.profiling.estimate import Curves, Estimate
from accelir.profiling.profile import Profile
from accelir.profiling.profiler import Profiler, StandardProfiler

__all__ = ["Curves", "Estimate", "Profile", "Profiler", "StandardProfiler"]
