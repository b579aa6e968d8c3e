"""Batches that waste nothing: no padding, every common beginning of examples once, labels only where there is a loss.

Every Alpaca prompt begins with the same sentence, so eight examples repeat the same 22 tokens eight times: 40 % of the
work. A packed batch is the tree of the examples' tokens: a beginning that several share is one row of numbers, also
where only two of them go on alike. Positions, losses and gradients are those of the padded batch; a label that several
examples share weighs as often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .data import IGNORED, Example

LEAST_SHARED = 4
"""A shorter beginning that all examples share is not kept apart (in generation)."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as one column of token rows. A cell is a place in the padded layout [examples, longest], flattened."""

    ids: torch.Tensor
    positions: torch.Tensor
    examples: int
    longest: int
    """Tokens of the longest example."""
    shared: int
    """Tokens at the beginning that all examples share."""
    to_padded: torch.Tensor
    """For each cell the row that it shows (any row for padding)."""
    to_packed: torch.Tensor
    """For each row the first cell that shows it."""
    again_cells: torch.Tensor
    """Cells that show a row that an earlier cell shows,"""
    again_rows: torch.Tensor
    """those rows, without repetition,"""
    again_places: torch.Tensor
    """and for each of those cells the place of its row in `again_rows`."""
    label_rows: torch.Tensor
    """The row of each label; a row where examples part has several."""
    label_cells: torch.Tensor
    """The first cell of each label."""
    targets: torch.Tensor
    weights: torch.Tensor
    """How many examples share each label."""
    every_label: torch.Tensor
    """For each label of the padded batch, in order, its place among the labels here,"""
    every_example: torch.Tensor
    """and the example that it belongs to."""
    labels: int
    """Labels of the padded batch (the sum of the weights)."""
    tokens: int
    """Input tokens of the examples without padding (shared ones counted for each)."""

    def to(self, device: torch.device) -> Packed:
        """The same batch on `device`."""
        if device == self.ids.device:
            return self
        values = {name: getattr(self, name) for name in self.__slots__}
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in values.items()
        }
        return Packed(**moved)


def shared_tokens(batch: Sequence[Example]) -> int:
    """How many first tokens all examples share; each keeps at least one of its own. 0 where it is not worth it."""
    if len(batch) < 2:
        return 0
    limit = min(len(example.inputs) for example in batch) - 1
    low = min(batch, key=lambda example: example.inputs[:limit]).inputs
    high = max(batch, key=lambda example: example.inputs[:limit]).inputs
    count = next((index for index in range(limit) if low[index] != high[index]), limit)
    return count if count >= LEAST_SHARED else 0


def pack(batch: Sequence[Example], share: bool = True) -> Packed:
    """The packed form of a batch; `share=False` keeps every example whole."""
    longest = max(len(example.inputs) for example in batch)
    rows: dict[tuple[int, int, int], int] = {}
    positions: list[int] = []
    first_cells: list[int] = []
    again: list[tuple[int, int]] = []
    labels: dict[tuple[int, int], int] = {}
    label_cells: list[int] = []
    weights: list[int] = []
    every: list[tuple[int, int]] = []
    to_padded = [0] * (len(batch) * longest)
    for number, example in enumerate(batch):
        row = -1
        for place, (token, target) in enumerate(zip(example.inputs, example.targets, strict=True)):
            cell = number * longest + place
            key = (row, token, 0 if share else number)
            found = rows.get(key)
            if found is None:
                row = rows[key] = len(rows)
                positions.append(place)
                first_cells.append(cell)
            else:
                row = found
                again.append((cell, row))
            to_padded[cell] = row
            if target != IGNORED:
                label = labels.setdefault((row, target), len(labels))
                if label == len(weights):
                    weights.append(0)
                    label_cells.append(cell)
                weights[label] += 1
                every.append((label, number))
    repeated = {row: index for index, row in enumerate(dict.fromkeys(row for _, row in again))}
    return Packed(
        ids=_long([token for _, token, _ in rows]),
        positions=_long(positions),
        examples=len(batch),
        longest=longest,
        shared=shared_tokens(batch) if share else 0,
        to_padded=_long(to_padded),
        to_packed=_long(first_cells),
        again_cells=_long([cell for cell, _ in again]),
        again_rows=_long(list(repeated)),
        again_places=_long([repeated[row] for _, row in again]),
        label_rows=_long([row for row, _ in labels]),
        label_cells=_long(label_cells),
        targets=_long([target for _, target in labels]),
        weights=torch.tensor(weights, dtype=torch.float32),
        every_label=_long([label for label, _ in every]),
        every_example=_long([number for _, number in every]),
        labels=len(every),
        tokens=sum(len(example.inputs) for example in batch),
    )


def _long(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long)


def fold(cells: torch.Tensor, batch: Packed) -> torch.Tensor:
    """Rows [tokens, width] from cells [examples * longest, width]: the sum over the cells that show each row."""
    again = cells.index_select(0, batch.again_cells)
    return add_repeated(cells.index_select(0, batch.to_packed), again, batch)


def add_repeated(rows: torch.Tensor, again: torch.Tensor, batch: Packed) -> torch.Tensor:
    """`rows` with what the cells `again_cells` hold added, in place."""
    if len(batch.again_rows):
        sums = rows.index_select(0, batch.again_rows).float()
        sums.index_add_(0, batch.again_places, again.float())
        rows.index_copy_(0, batch.again_rows, sums.to(rows.dtype))
    return rows
