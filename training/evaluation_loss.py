"""Losses of prepared examples without training: mean per label, per example, or as the reference text averages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from . import forward
from .batches import pack
from .data import Example
from .model import GPT2

TOKENS = 4096
"""Tokens that are computed at a time,"""
CELLS = 4 * TOKENS
"""and places of the padded layout: one long example among many short ones would make all of them as long."""


def sums(
    model: GPT2, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None
) -> list[tuple[float, int]]:
    """For each example, the sum of its label losses and the number of its labels, in order."""
    found: list[tuple[float, int]] = []
    dropout, model.dropout = model.dropout, 0.0
    try:
        for batch in _batches(examples):
            found += _batch_sums(model, batch)
            progress(len(found))
    finally:
        model.dropout = dropout
    return found


def _batches(examples: Sequence[Example]) -> list[list[Example]]:
    batches: list[list[Example]] = [[]]
    tokens = longest = 0
    for example in examples:
        length = len(example.inputs)
        cells = (len(batches[-1]) + 1) * max(longest, length)
        if batches[-1] and (tokens + length > TOKENS or cells > CELLS):
            batches.append([])
            tokens = longest = 0
        batches[-1].append(example)
        tokens, longest = tokens + length, max(longest, length)
    return [batch for batch in batches if batch]


def _batch_sums(model: GPT2, batch: list[Example]) -> list[tuple[float, int]]:
    packed = pack(batch).to(model.device)
    if not packed.labels:
        return [(0.0, 0)] * len(batch)
    with torch.no_grad():
        _, losses = forward.losses(model, packed)
    packed, losses = packed.to(torch.device("cpu")), losses.cpu().double()
    total = torch.zeros(len(batch), dtype=torch.float64)
    total.index_add_(0, packed.every_example, losses[packed.every_label])
    return [(float(total[index]), example.labels) for index, example in enumerate(batch)]


def mean(
    model: GPT2, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None
) -> float | None:
    """Mean loss per label over all examples; None where there is no label."""
    found = sums(model, examples, progress)
    labels = sum(count for _, count in found)
    return sum(loss for loss, _ in found) / labels if labels else None


def mean_of_batches(model: GPT2, batches: Sequence[Sequence[Example]]) -> float | None:
    """The mean over batches of each batch's mean, as the reference text evaluates."""
    if not batches:
        return None
    means = [mean(model, batch) or 0.0 for batch in batches]
    return sum(means) / len(means)
