"""Forward and backward as one CUDA graph: some nine hundred small kernels are started at once instead of one by one.

With the reference text's batches of eight a GPU waits for Python most of the time. A graph repeats what was recorded,
on the same memory, so every batch is laid into one of a fixed size: a further example that nobody learns from takes up
the rest. The optimiser stays outside (a few kernels), so rates, clipping and the look at the loss are as without.

A graph is trusted only after its loss and gradients agreed with the ordinary computation on the first batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch

from . import forward
from .batches import Packed
from .model import GPT2

ROUND, ROUND_LENGTH = 64, 16
CHECKED = 2
"""Batches whose graph is compared with the ordinary computation,"""
LOSS_APART = {torch.float32: 1e-4, torch.bfloat16: 1e-2}
GRADIENT_APART = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""and how far they may be apart: the loss in itself, the gradients by the norm of the difference."""

Recorder = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]
"""Makes of a computation one that repeats it on the same memory."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The sizes of the batch that is laid out for all."""

    examples: int
    rows: int
    longest: int
    again_cells: int
    again_rows: int
    labels: int

    def holds(self, batch: Packed) -> bool:
        """Whether a batch fits."""
        return (
            batch.examples < self.examples
            and len(batch.ids) < self.rows
            and batch.longest <= self.longest
            and len(batch.again_cells) <= self.again_cells
            and len(batch.again_rows) < self.again_rows
            and len(batch.targets) <= self.labels
        )


def budget(batches: Sequence[Packed], context: int) -> Budget:
    """The least sizes that hold all of `batches`, rounded up, with one row and one example to spare."""

    def most(numbers: list[int], step: int) -> int:
        return -(-max(numbers) // step) * step

    return Budget(
        1 + max(batch.examples for batch in batches),
        most([len(batch.ids) + 1 for batch in batches], ROUND),
        min(context, most([batch.longest for batch in batches], ROUND_LENGTH)),
        most([len(batch.again_cells) for batch in batches], ROUND),
        most([len(batch.again_rows) + 1 for batch in batches], ROUND),
        most([len(batch.targets) for batch in batches], ROUND),
    )


def lay_out(batch: Packed, room: Budget, divisor: float) -> Packed:
    """The same batch in a fixed size; its loss is the sum of its weighted losses, divided by `divisor` already.

    The rows and labels that are added belong to an example of their own at the end, and weigh nothing: no loss and no
    gradient comes from them.
    """
    spare_row, spare_cell = len(batch.ids), (room.examples - 1) * room.longest

    def filled(values: torch.Tensor, count: int, value: int) -> torch.Tensor:
        return torch.cat([values, values.new_full((count - len(values),), value)])

    def cells(places: torch.Tensor) -> torch.Tensor:
        return places // batch.longest * room.longest + places % batch.longest

    padded = torch.full((room.examples, room.longest), spare_row)
    padded[: batch.examples, : batch.longest] = batch.to_padded.view(batch.examples, batch.longest)
    repeated = len(batch.again_rows)
    return replace(
        batch,
        ids=filled(batch.ids, room.rows, 0),
        positions=filled(batch.positions, room.rows, 0),
        examples=room.examples,
        longest=room.longest,
        to_padded=padded.flatten(),
        to_packed=filled(cells(batch.to_packed), room.rows, spare_cell),
        again_cells=filled(cells(batch.again_cells), room.again_cells, spare_cell),
        again_rows=filled(batch.again_rows, room.again_rows, spare_row),
        again_places=filled(batch.again_places, room.again_cells, repeated),
        label_rows=filled(batch.label_rows, room.labels, 0),
        label_cells=filled(cells(batch.label_cells), room.labels, spare_cell),
        targets=filled(batch.targets, room.labels, 0),
        weights=filled(batch.weights / divisor, room.labels, 0),
        # of use only to those who ask for the losses of single examples
        every_label=batch.every_label[:0],
        every_example=batch.every_example[:0],
    )


def record(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """`run` as a CUDA graph. Raises RuntimeError where it cannot be recorded."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


class Graphed:
    """Losses and gradients by a recorded computation, once it has shown that it is right."""

    def __init__(self, model: GPT2, room: Budget, first: Packed, recorder: Recorder = record) -> None:
        """Records with the batch `first` (on the CPU, as all batches here). Raises RuntimeError, and out of memory."""
        self.model = model
        self.room = room
        self.to_check = CHECKED
        self.checked = 0
        host = lay_out(first, room, 1.0)
        pinned = model.device.type == "cuda"
        self._host = _map(host, lambda tensor: tensor.pin_memory() if pinned else tensor.clone())
        self._batch = _map(host, lambda tensor: tensor.to(model.device, copy=True))
        self._replay = recorder(self._run)

    def _run(self) -> torch.Tensor:
        self.model.start_step()
        loss, _ = forward.losses(self.model, self._batch, 1.0)
        loss.backward()
        self.model.finish_step()
        return loss.detach()

    def gradients(self, batch: Packed, divisor: float) -> float | None:
        """The loss of a batch, its gradients in the model's buffers; None where it does not fit (nothing is done).

        Raises Disagreement: then the gradients are those of the ordinary computation, and the graph is of no use.
        """
        if not self.room.holds(batch):
            return None
        if self.checked < self.to_check:
            return self._checked(batch, divisor)
        return self._replayed(batch, divisor)

    def _replayed(self, batch: Packed, divisor: float) -> float:
        values = lay_out(batch, self.room, divisor)
        for name in _tensors(values):
            kept = getattr(self._host, name)
            kept.copy_(getattr(values, name))
            getattr(self._batch, name).copy_(kept, non_blocking=True)
        return float(self._replay())

    def _checked(self, batch: Packed, divisor: float) -> float:
        model = self.model
        found = self._replayed(batch, divisor)
        ours = {name: gradient.clone() for name, gradient in model.gradients.items()}
        model.start_step()
        loss, _ = forward.losses(model, batch.to(model.device), divisor)
        loss.backward()
        model.finish_step()
        expected = float(loss.detach())
        apart = square = 0.0
        for name, gradient in model.gradients.items():
            apart += float((gradient.float() - ours.pop(name).float()).square().sum())
            square += float(gradient.float().square().sum())
        self.checked += 1
        limits = LOSS_APART[model.dtype], GRADIENT_APART[model.dtype]
        if not math.isfinite(expected):
            return expected
        # written so that a number that is none is no agreement
        if abs(found - expected) <= limits[0] * max(1.0, abs(expected)) and apart <= limits[1] ** 2 * square:
            return expected
        raise Disagreement(found, expected)


class Disagreement(Exception):
    """A graph's loss or gradients are not those of the ordinary computation."""

    def __init__(self, found: float, expected: float) -> None:
        super().__init__(f"the CUDA graph's step differs (loss {found:.5f}, without it {expected:.5f})")
        self.expected = expected


def _tensors(batch: Packed) -> list[str]:
    return [field.name for field in fields(Packed) if isinstance(getattr(batch, field.name), torch.Tensor)]


def _map(batch: Packed, change: Callable[[torch.Tensor], torch.Tensor]) -> Packed:
    return replace(batch, **{name: change(getattr(batch, name)) for name in _tensors(batch)})
