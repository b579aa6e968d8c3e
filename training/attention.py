"""Causal attention of short examples on a CPU, straight from packed rows to packed rows.

torch's own attention is written for long rows: for some seventy tokens in bf16 its backward pass alone takes a fifth of
a whole training step. Here the few small products are written out.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from .batches import Packed, fold

SHORT = 256
"""Longer examples go to torch's own attention: this one holds all weights at once."""


@functools.lru_cache(maxsize=64)
def _mask(length: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((length, length), -torch.inf, dtype=dtype).triu(1)


def weights_of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Causal attention weights of rows [batch, length, width]."""
    scale = q.shape[-1] ** -0.5
    scores = torch.baddbmm(_mask(q.shape[1], q.dtype), q, k.transpose(1, 2), alpha=scale)
    return torch.softmax(scores, -1)


class _Short(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, batch: Packed, heads: int) -> torch.Tensor:
        count, length = batch.examples, batch.longest
        width = qkv.shape[1] // 3
        each = width // heads
        padded = qkv.index_select(0, batch.to_padded).view(count, length, 3, heads, each)
        q, k, v = padded.permute(2, 0, 3, 1, 4).reshape(3, count * heads, length, each).unbind(0)
        weights = weights_of(q, k)
        mixed = torch.bmm(weights, v).view(count, heads, length, each)
        ctx.save_for_backward(q, k, v, weights)
        ctx.batch, ctx.heads, ctx.scale = batch, heads, each**-0.5
        flat = mixed.transpose(1, 2).reshape(count * length, width)
        return flat.index_select(0, batch.to_packed)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        q, k, v, weights = ctx.saved_tensors
        batch, heads = ctx.batch, ctx.heads
        count, length = batch.examples, batch.longest
        width = gradient.shape[1]
        each = width // heads
        padded = gradient.new_zeros(count * length, width).index_copy_(0, batch.to_packed, gradient)
        out = padded.view(count, length, heads, each).transpose(1, 2).reshape(count * heads, length, each)
        grads = gradient.new_empty(3, count * heads, length, each)
        torch.bmm(weights.transpose(1, 2), out, out=grads[2])
        dweights = torch.bmm(out, v.transpose(1, 2))
        dscores = torch._softmax_backward_data(dweights, weights, -1, weights.dtype).mul_(ctx.scale)
        torch.bmm(dscores, k, out=grads[0])
        torch.bmm(dscores.transpose(1, 2), q, out=grads[1])
        cells = (
            grads.view(3, count, heads, length, each)
            .permute(1, 3, 0, 2, 4)
            .reshape(count * length, 3 * width)
        )
        return fold(cells, batch), None, None


def short(qkv: torch.Tensor, batch: Packed, heads: int) -> torch.Tensor:
    """Attention of packed rows [tokens, 3 * width] within each example, causal; [tokens, width]."""
    mixed: torch.Tensor = _Short.apply(qkv, batch, heads)
    return mixed
