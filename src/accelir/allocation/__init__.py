"""Allocation: which level each block gets, and the one loop that meets a budget."""

from accelir.allocation.allocator import Allocator
from accelir.allocation.budget import BitsPerPixel, Budget, Bytes, LikeQuality, fit_budget
from accelir.allocation.lagrangian import LagrangianAllocator, UniformAllocator

__all__ = [
    "Allocator",
    "BitsPerPixel",
    "Budget",
    "Bytes",
    "LagrangianAllocator",
    "LikeQuality",
    "UniformAllocator",
    "fit_budget",
]
