"""Muon for the matrices of the blocks, AdamW for everything else.

The momentum of a matrix is replaced by the nearest matrix whose singular values are all alike, found by five
Newton-Schulz steps (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"); its length is
AdamW's usual one (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2), so that both share one learning
rate. What it brings here: `tools/embedded/README.md`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from pairsmith.training.model import GPT2
from pairsmith.training.optimiser import AdamW, Group, Rates, cut

_MOMENTUM = 0.95
_STEPS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_LENGTH = 0.2
"""Root mean square of an update, as AdamW's."""
_EMBEDDINGS = ("wte.weight", "wpe.weight")


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Views of one matrix; queries, keys and values are three."""

    master: torch.Tensor
    gradient: torch.Tensor
    momentum: torch.Tensor
    copy: torch.Tensor | None
    parts: int


class Muon(AdamW):
    """The optimiser of one model. `hands`: threads that share the matrices."""

    def __init__(self, model: GPT2, rates: Rates, dtype: torch.dtype, hands: int) -> None:
        super().__init__(model, rates, dtype, model.tensors)
        self._matrices: list[_Matrix] = []
        self._pieces = []
        for group in self.groups:
            if group.live is None:
                self._share_out(model, group)
        self._hands = ThreadPoolExecutor(hands, initializer=torch.set_num_threads, initargs=(1,))

    def _share_out(self, model: GPT2, group: Group) -> None:
        for name, piece in zip(group.names, group.pieces, strict=True):
            shape = model.tensors[name].shape
            master, gradient, first, second = (
                buffer[piece] for buffer in (group.master, group.gradient, group.first, group.second)
            )
            copy = None if group.copy is None else group.copy[piece]
            if len(shape) == 2 and name not in _EMBEDDINGS:
                parts = 3 if shape[0] == 3 * shape[1] else 1
                turned = None if copy is None else copy.view(shape)
                matrix = (master.view(shape), gradient.view(shape), first.view(shape))
                self._matrices.append(_Matrix(*matrix, turned, parts))
            else:
                alone = Group([name], [], master, gradient, first, second, copy, 0, None)
                self._pieces += cut(alone, on_cpu=True)

    def step(self, learning_rate: float, scale: float = 1.0) -> None:
        """One update with the gradients times `scale`."""
        super().step(learning_rate, scale)
        list(self._hands.map(lambda matrix: self._turn(matrix, learning_rate, scale), self._matrices))

    def _turn(self, matrix: _Matrix, learning_rate: float, scale: float) -> None:
        with torch.no_grad():
            gradient = matrix.gradient.float().mul_(scale)
            matrix.momentum.lerp_(gradient, 1 - _MOMENTUM)
            wanted = gradient.lerp_(matrix.momentum, _MOMENTUM)
            matrix.master.mul_(1 - learning_rate * self.rates.weight_decay)
            dtype = torch.float32 if matrix.copy is None else matrix.copy.dtype
            for part, master in zip(
                wanted.chunk(matrix.parts), matrix.master.chunk(matrix.parts), strict=True
            ):
                length = _LENGTH * max(part.shape) ** 0.5
                master.add_(_evened(part, dtype), alpha=-learning_rate * length)
            if matrix.copy is not None:
                matrix.copy.copy_(matrix.master)


def _evened(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The matrix with singular values near one, computed in `dtype`."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / (x.norm() + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).float()
