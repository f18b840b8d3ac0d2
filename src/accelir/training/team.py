"""Several processes that train one network, started by torchrun: one for each GPU, each with batches of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch.distributed as distributed
from torch import nn

__all__ = ["Team"]


@dataclass(frozen=True)
class Team:
    """The processes of a training, as one of them sees it; one alone, where torchrun has not started it.

    Attributes:
        rank: Of this process.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls, device: str = "cpu") -> Self:
        """By the variables that torchrun sets; several come together at the first call.

        Args:
            device: What they will train on.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size < 2:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(distributed.get_rank(), size)

    @property
    def first(self) -> bool:
        """Whether this process is the one that reports and writes."""
        return self.rank == 0

    @property
    def rank_among_several(self) -> list[int]:
        """For seeds: empty for one alone."""
        return [self.rank] if self.size > 1 else []

    def device(self, wanted: str) -> str:
        """The GPU of this process, where ``wanted`` is ``"cuda"``."""
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if self.size > 1 and wanted == "cuda" else wanted

    def share(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give all processes the values of the first."""
        if self.size > 1:
            for parameter in parameters:
                distributed.broadcast(parameter.data, 0)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make the gradients of all processes their mean."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.size

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()
