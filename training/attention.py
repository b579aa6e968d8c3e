"""Causal attention of short examples on a CPU, straight from packed rows to packed rows.

torch's own attention is written for long rows: for some seventy tokens in bf16 its backward pass alone takes a fifth of
a whole training step. Here the few small products are written out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from .batches import Packed, add_repeated

SHORT = 256
"""Longer examples go to torch's own attention: this one holds all weights at once."""
ROUND = 16
"""Lengths are rounded up to a multiple of this."""


@functools.lru_cache(maxsize=64)
def _mask(length: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((length, length), -torch.inf, dtype=dtype).triu(1)


def weights_of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Causal attention weights of rows [batch, length, width]."""
    scale = q.shape[-1] ** -0.5
    scores = torch.baddbmm(_mask(q.shape[1], q.dtype), q, k.transpose(1, 2), alpha=scale)
    # softmax in fp32 is the faster one, too
    return torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)


@dataclass(frozen=True, slots=True)
class Places:
    """Where each head's numbers of a packed batch lie, for one step of attention after another.

    A packed row's q, k and v are 3 * heads runs of numbers; a padded cell's run lies at [part, example, head, place].
    """

    heads: int
    length: int
    """Of the padded rows: the longest example, rounded up, so that products meet few different sizes."""
    gather: torch.Tensor
    """For each run of the padded layout, the run of the packed one that it shows;"""
    back: torch.Tensor
    """for each head of each packed row, the first run of the padded layout (one part) that shows it,"""
    first: torch.Tensor
    """the same for q, k and v,"""
    again: torch.Tensor
    """and those runs that show once more what an earlier one shows."""


def places(batch: Packed, heads: int) -> Places:
    """The places of a batch's heads."""
    count, longest = batch.examples, batch.longest
    length = longest + -longest % ROUND
    row = torch.zeros(count, length, dtype=torch.long)
    row[:, :longest] = batch.to_padded.view(count, longest)
    head, part = torch.arange(heads), torch.arange(3)
    runs = (row[None, :, None, :] * 3 + part[:, None, None, None]) * heads + head[None, None, :, None]

    def padded(cells: torch.Tensor) -> torch.Tensor:
        example, place = cells // longest, cells % longest
        return (example[:, None] * heads + head[None, :]) * length + place[:, None]

    def parts(cells: torch.Tensor) -> torch.Tensor:
        return (part[None, :, None] * (count * heads * length) + padded(cells)[:, None, :]).flatten()

    return Places(
        heads,
        length,
        runs.flatten(),
        padded(batch.to_packed).flatten(),
        parts(batch.to_packed),
        parts(batch.again_cells),
    )


class _Short(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, batch: Packed, at: Places) -> torch.Tensor:
        each = qkv.shape[1] // (3 * at.heads)
        runs = qkv.reshape(-1, each).index_select(0, at.gather)
        q, k, v = runs.view(3, -1, at.length, each).unbind(0)
        weights = weights_of(q, k)
        mixed = torch.bmm(weights, v)
        ctx.save_for_backward(q, k, v, weights)
        ctx.batch, ctx.at = batch, at
        return mixed.view(-1, each).index_select(0, at.back).view(len(qkv), -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        q, k, v, weights = ctx.saved_tensors
        batch, at = ctx.batch, ctx.at
        rows, width = gradient.shape
        each = width // at.heads
        out = torch.zeros_like(q)
        out.view(-1, each).index_copy_(0, at.back, gradient.reshape(-1, each))
        grads = gradient.new_empty(3, *q.shape)
        torch.bmm(weights.transpose(1, 2), out, out=grads[2])
        dweights = torch.bmm(out, v.transpose(1, 2))
        dscores = torch._softmax_backward_data(dweights, weights, -1, weights.dtype).mul_(each**-0.5)
        torch.bmm(dscores, k, out=grads[0])
        torch.bmm(dscores.transpose(1, 2), q, out=grads[1])
        runs = grads.view(-1, each)
        packed = runs.index_select(0, at.first).view(rows, 3 * width)
        again = runs.index_select(0, at.again).view(-1, 3 * width)
        return add_repeated(packed, again, batch), None, None


def short(qkv: torch.Tensor, batch: Packed, at: Places) -> torch.Tensor:
    """Attention of packed rows [tokens, 3 * width] within each example, causal; [tokens, width]."""
    mixed: torch.Tensor = _Short.apply(qkv, batch, at)
    return mixed
