"""Several processes under `torchrun`: who am I, and adding numbers and gradients up over all of them."""

from __future__ import annotations

import os

import torch


class World:
    """The processes of this run; of size 1 unless torchrun started us."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))

    def start(self, device: torch.device) -> None:
        """Meet the other processes (NCCL between GPUs, Gloo otherwise)."""
        if self.size > 1:
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def stop(self) -> None:
        """Leave."""
        if self.size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def add(self, tensor: torch.Tensor) -> None:
        """The sum of a tensor over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)

    def total(self, number: float, device: torch.device) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return number
        tensor = torch.tensor(
            [number], dtype=torch.float64 if device.type != "mps" else torch.float32, device=device
        )
        self.add(tensor)
        return float(tensor)
