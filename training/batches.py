"""Batches that waste nothing: no padding, the common beginning of the examples once, labels only where there is a loss.

Every Alpaca prompt begins with the same sentence, so eight examples repeat the same 22 tokens eight times: 40 % of the
work. A packed batch holds them once, followed by the rest of each example. The positions, the losses and the gradients
are those of the padded batch; a label in the shared part weighs as many times as there are examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .data import IGNORED, Example

LEAST_SHARED = 4
"""A shorter common beginning is not worth sharing."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as one row of tokens: `shared` tokens once, then the rest of every example."""

    ids: torch.Tensor
    positions: torch.Tensor
    shared: int
    examples: int
    longest: int
    """Tokens of the longest example, shared part included."""
    to_padded: torch.Tensor
    """For each cell of the padded layout [examples, longest], the packed row that it shows (any row for padding)."""
    to_packed: torch.Tensor
    """For each packed row, its cell in the padded layout."""
    label_rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    """How often each label counts: the number of examples in the shared part, else 1."""
    labels: int
    """Labels of the padded batch (the sum of the weights)."""
    tokens: int
    """Input tokens of the examples without padding (shared ones counted for each)."""

    def to(self, device: torch.device) -> Packed:
        """The same batch on `device`."""
        if device == self.ids.device:
            return self
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        kept = {name: getattr(self, name) for name in self.__slots__ if name not in _TENSORS}
        return Packed(**moved, **kept)


_TENSORS = ("ids", "positions", "to_padded", "to_packed", "label_rows", "targets", "weights")


def shared_tokens(batch: Sequence[Example]) -> int:
    """How many first positions have the same input, the same target and the same masking in every example.

    Each example keeps at least one token of its own.
    """
    if len(batch) < 2:
        return 0
    limit = min(len(example.inputs) for example in batch) - 1
    low = min(batch, key=lambda example: example.inputs[:limit]).inputs
    high = max(batch, key=lambda example: example.inputs[:limit]).inputs
    count = _agreeing(low, high, limit)
    first = batch[0].targets
    for example in batch[1:]:
        count = _agreeing(first, example.targets, count)
    return count if count >= LEAST_SHARED else 0


def _agreeing(one: Sequence[int], other: Sequence[int], limit: int) -> int:
    for index in range(limit):
        if one[index] != other[index]:
            return index
    return limit


def pack(batch: Sequence[Example], share: bool = True) -> Packed:
    """The packed form of a batch; `share=False` keeps every example whole."""
    shared = shared_tokens(batch) if share else 0
    count, longest = len(batch), max(len(example.inputs) for example in batch)
    ids = list(batch[0].inputs[:shared])
    positions = list(range(shared))
    targets = list(batch[0].targets[:shared])
    weights = [float(count)] * shared
    to_packed = list(range(shared))
    to_padded = torch.zeros(count, longest, dtype=torch.long)
    if shared:
        to_padded[:, :shared] = torch.arange(shared)
    for row, example in enumerate(batch):
        own = len(example.inputs) - shared
        start = len(ids)
        to_padded[row, shared : shared + own] = torch.arange(start, start + own)
        ids += example.inputs[shared:]
        positions += range(shared, shared + own)
        targets += example.targets[shared:]
        weights += [1.0] * own
        to_packed += range(row * longest + shared, row * longest + shared + own)
    rows = [index for index, target in enumerate(targets) if target != IGNORED]
    kept = [weights[index] for index in rows]
    return Packed(
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        shared=shared,
        examples=count,
        longest=longest,
        to_padded=to_padded.flatten(),
        to_packed=torch.tensor(to_packed),
        label_rows=torch.tensor(rows, dtype=torch.long),
        targets=torch.tensor([targets[index] for index in rows], dtype=torch.long),
        weights=torch.tensor(kept),
        labels=round(sum(kept)),
        tokens=sum(len(example.inputs) for example in batch),
    )
