"""The gradients of a step, computed by several threads of one core each, every one at slices of its own.

Two threads inside of every product wait for each other thousands of times in a step; on a machine that does anything
else besides, they do little but wait. Here they meet once a step. Who computes what is settled by the sizes of the
slices alone, so the sums are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from pairsmith.training import forward
from pairsmith.training.model import GPT2

from .steps import Slice


class Hands:
    """A model and its twins: the same weights, gradients of their own. Make it after the optimiser."""

    def __init__(self, model: GPT2, count: int) -> None:
        self._models = [model, *(_twin(model) for _ in range(count - 1))]
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def gradients(self, parts: Sequence[Slice]) -> list[float]:
        """Leave the sum of all gradients in the model's buffers; the loss of each slice, in order."""
        shares = shared_out(parts, len(self._models))
        losses = [0.0] * len(parts)
        for numbers, made in zip(
            shares,
            self._pool.map(lambda model, share: _work(model, share, parts), self._models, shares),
            strict=True,
        ):
            for number, loss in zip(numbers, made, strict=True):
                losses[number] = loss
        first, *others = self._models
        for name, gradient in first.gradients.items():
            for other in others:
                gradient.add_(other.gradients[name])
        return losses


def _twin(model: GPT2) -> GPT2:
    twin = GPT2(model.shape, model.tensors)
    twin.compute = model.compute
    twin.gradients = {name: torch.zeros_like(gradient) for name, gradient in model.gradients.items()}
    return twin


def _work(model: GPT2, numbers: Sequence[int], parts: Sequence[Slice]) -> list[float]:
    model.start_step()
    losses = []
    for number in numbers:
        loss, _ = forward.losses(model, parts[number].batch, parts[number].divisor)
        loss.backward()
        losses.append(float(loss.detach()))
    model.finish_step()
    return losses


def shared_out(parts: Sequence[Slice], count: int) -> list[list[int]]:
    """The numbers of the slices for each hand: the dearest first, each to whoever has least to do."""
    costs = [_cost(part) for part in parts]
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for number in sorted(range(len(parts)), key=lambda number: (-costs[number], number)):
        least = loads.index(min(loads))
        shares[least].append(number)
        loads[least] += costs[number]
    return shares


def _cost(part: Slice) -> float:
    """Milliseconds on one core, about: products by row, attention by the square of the length."""
    batch = part.batch
    return 0.13 * len(batch.ids) + 0.0002 * batch.examples * batch.longest * batch.longest
