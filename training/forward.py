"""The forward pass over a packed batch, and over ordinary rows of tokens."""

from __future__ import annotations

import torch
from torch.nn import functional

from . import attention, ops
from .batches import Packed
from .model import GPT2


def losses(model: GPT2, batch: Packed, divisor: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the label losses over `divisor` (default: the batch's labels), and the loss of each label row.

    Calling backward() on the first writes the gradients into the model's buffers.
    """
    x = hidden(model, batch)
    return ops.loss(model, x, batch.targets, batch.weights, divisor or float(batch.labels))


def hidden(model: GPT2, batch: Packed) -> torch.Tensor:
    """The normalised last hidden states of the label rows, [labels, width], fp32."""
    x = _dropped(model, ops.embed(model, batch.ids, batch.positions))
    last = model.shape.layers - 1
    # where few rows have a label, what follows the last attention is computed for those alone
    few = len(batch.label_rows) < len(batch.ids)
    short = batch.longest <= attention.SHORT and model.device.type == "cpu"
    at = attention.places(batch, model.shape.heads) if short else None
    for layer in range(model.shape.layers):
        rows = batch.label_rows if few and layer == last else None
        x = _block(model, f"h.{layer}", x, batch, at, rows)
    if not few:
        x = x.index_select(0, batch.label_rows)
    return ops.norm(model, "ln_f", x)


def _block(
    model: GPT2,
    name: str,
    x: torch.Tensor,
    batch: Packed,
    at: attention.Places | None,
    rows: torch.Tensor | None,
) -> torch.Tensor:
    mixed = _attention(model, name, ops.norm(model, f"{name}.ln_1", x), batch, at)
    if rows is not None:
        mixed, x = mixed.index_select(0, rows), x.index_select(0, rows)
    x = x + _dropped(model, ops.linear(model, f"{name}.attn.c_proj", mixed))
    wide = ops.linear(model, f"{name}.mlp.c_fc", ops.norm(model, f"{name}.ln_2", x))
    wide = functional.gelu(wide, approximate="tanh")
    return x + _dropped(model, ops.linear(model, f"{name}.mlp.c_proj", wide))


def _attention(
    model: GPT2, name: str, x: torch.Tensor, batch: Packed, at: attention.Places | None
) -> torch.Tensor:
    shape = model.shape
    qkv = ops.linear(model, f"{name}.attn.c_attn", x)
    if at is not None:
        return attention.short(qkv, batch, at)
    padded = ops.pad(qkv, batch).view(batch.examples, batch.longest, 3, shape.heads, shape.head_width)
    q, k, v = (part.transpose(1, 2) for part in padded.unbind(2))
    mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    flat = mixed.transpose(1, 2).reshape(batch.examples * batch.longest, shape.width)
    return flat.index_select(0, batch.to_packed)


def _dropped(model: GPT2, x: torch.Tensor) -> torch.Tensor:
    return functional.dropout(x, model.dropout) if model.dropout else x


def logits(model: GPT2, ids: torch.Tensor) -> torch.Tensor:
    """fp32 logits [examples, length, vocabulary] of rows of token ids, without gradients."""
    examples, length = ids.shape
    cells = torch.arange(examples * length, device=ids.device)
    none = cells[:0]
    batch = Packed(
        ids=ids.flatten(),
        positions=torch.arange(length, device=ids.device).repeat(examples),
        examples=examples,
        longest=length,
        shared=0,
        to_padded=cells,
        to_packed=cells,
        again_cells=none,
        again_rows=none,
        again_places=none,
        label_rows=cells,
        label_cells=cells,
        targets=cells,
        weights=cells,
        every_label=none,
        every_example=none,
        labels=examples * length,
        tokens=examples * length,
    )
    with torch.no_grad():
        x = hidden(model, batch)
        head = model.compute[model.head_name]
        return torch.mm(x.to(head.dtype), head.T).float().view(examples, length, -1)
