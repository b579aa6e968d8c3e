"""Products, norms, embeddings and the loss, with gradients written straight into the model's buffers.

Autograd allocates a new tensor for every weight's gradient in every step and lets the kernel zero its pages: on a CPU
that costs as much as the arithmetic. Here each operation writes the gradient of its weights with `out=`.
"""

from __future__ import annotations

from typing import Any

import torch

from .batches import Packed, fold
from .model import GPT2

ROWS_AT_ONCE = 1024
"""Rows of logits held at a time."""
SLICE = 16
"""Rows of logits whose softmax is computed while they are in the cache (CPU)."""
BLOCK = 32
"""bf16 products of a CPU are prepared anew for each number of rows, at up to the price of ten: so they get few."""


def lowered(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """x in the precision of the products; on a CPU in bf16 with rows of zeros up to a multiple of BLOCK."""
    more = -len(x) % BLOCK
    if not more or x.device.type != "cpu" or dtype == torch.float32:
        return x.to(dtype)
    low = torch.empty(len(x) + more, x.shape[1], dtype=dtype)
    low[: len(x)].copy_(x)
    low[len(x) :].zero_()
    return low


def upright(x: torch.Tensor) -> torch.Tensor:
    """x transposed; in bf16 on a CPU as a copy, which makes the product of a weight's gradient twice as fast."""
    return x.T.contiguous() if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x.T


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, model: GPT2, name: str) -> torch.Tensor:
        weight = model.compute[f"{name}.weight"]
        low = lowered(x, weight.dtype)
        ctx.model, ctx.name, ctx.dtype = model, name, x.dtype
        ctx.save_for_backward(low)
        bias = model.tensors[f"{name}.bias"].to(weight.dtype)
        return torch.addmm(bias, low, weight.T)[: len(x)]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        model, name = ctx.model, ctx.name
        weight = model.compute[f"{name}.weight"]
        rows = len(gradient)
        gradient = lowered(gradient, weight.dtype)
        if f"{name}.weight" in model.gradients:
            model.add_product(f"{name}.weight", upright(gradient), x)
        if f"{name}.bias" in model.gradients:
            model.add(f"{name}.bias", gradient.sum(0, dtype=torch.float32))
        return torch.mm(gradient, weight)[:rows].to(ctx.dtype), None, None


def linear(model: GPT2, name: str, x: torch.Tensor) -> torch.Tensor:
    """x @ weight.T + bias in the precision of the products, plus the LoRA of that weight if there is one."""
    y: torch.Tensor = _Linear.apply(x, model, name)
    lora = model.lora.get(f"{name}.weight")
    if lora is None:
        return y
    return y + low_rank(lora.down, lora.up, lora.groups, lora.scale, x).to(y.dtype)


def low_rank(down: Any, up: Any, groups: int, scale: float, x: torch.Tensor) -> torch.Tensor:
    """The LoRA part of a product, in fp32, by ordinary autograd."""
    hidden = torch.nn.functional.linear(x.float(), down)
    parts = zip(hidden.chunk(groups, dim=-1), up.chunk(groups), strict=True)
    return torch.cat([torch.nn.functional.linear(part, matrix) for part, matrix in parts], dim=-1) * scale


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, model: GPT2, name: str) -> torch.Tensor:
        weight, bias = model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"]
        size = [x.shape[-1]]
        y, mean, rstd = torch.native_layer_norm(x, size, weight, bias, model.shape.epsilon)
        ctx.model, ctx.name = model, name
        ctx.save_for_backward(x, mean, rstd)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, mean, rstd = ctx.saved_tensors
        model, name = ctx.model, ctx.name
        weight, bias = model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"]
        trained = f"{name}.weight" in model.gradients
        dx, dweight, dbias = torch.ops.aten.native_layer_norm_backward(
            gradient, x, [x.shape[-1]], mean, rstd, weight, bias, [True, trained, trained]
        )
        if trained:
            model.add(f"{name}.weight", dweight)
            model.add(f"{name}.bias", dbias)
        return dx, None, None


def norm(model: GPT2, name: str, x: torch.Tensor) -> torch.Tensor:
    """Layer normalisation in fp32."""
    y: torch.Tensor = _Norm.apply(x, model, name)
    return y


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, anchor: torch.Tensor, model: GPT2, ids: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        ctx.model = model
        ctx.save_for_backward(ids, positions)
        return model.tensors["wte.weight"][ids] + model.tensors["wpe.weight"][positions]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None, None]:
        ids, positions = ctx.saved_tensors
        ctx.model.add_rows("wte.weight", ids, gradient)
        ctx.model.add_rows("wpe.weight", positions, gradient)
        return None, None, None, None


def embed(model: GPT2, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Token and position embeddings, added, in fp32."""
    anchor = torch.empty(0, device=model.device, requires_grad=torch.is_grad_enabled())
    x: torch.Tensor = _Embed.apply(anchor, model, ids, positions)
    return x


class _Pad(torch.autograd.Function):
    """Packed rows to the padded layout; backward gathers instead of scattering."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, batch: Packed) -> torch.Tensor:
        ctx.batch = batch
        return x.index_select(0, batch.to_padded)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return fold(gradient, ctx.batch), None


def pad(x: torch.Tensor, batch: Packed) -> torch.Tensor:
    """Rows [tokens, width] in the padded layout [examples * longest, width]."""
    padded: torch.Tensor = _Pad.apply(x, batch)
    return padded


class _Loss(torch.autograd.Function):
    """Logits, softmax, loss and all their gradients in one pass over slices that stay in the cache."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        side: torch.Tensor | None,
        model: GPT2,
        targets: torch.Tensor,
        weights: torch.Tensor,
        divisor: float,
        train: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        head = model.compute[model.head_name]
        up = model.lora[model.head_name].up if side is not None else None
        dside = torch.empty_like(side) if train and side is not None else None
        losses = torch.empty(x.shape[0], device=x.device)
        dx = torch.empty_like(x) if train else None
        for start in range(0, x.shape[0], ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, x.shape[0]))
            low = lowered(x[rows], head.dtype)
            whole = torch.mm(low, head.T)
            logits = whole[: len(targets[rows])]
            if side is not None and up is not None:
                logits += torch.mm(side[rows], up.T)
            losses[rows] = _softmax(logits, targets[rows], weights[rows] / divisor if train else None)
            if dx is not None:
                whole[len(logits) :].zero_()
                if model.head_name in model.gradients:
                    model.add_product(model.head_name, upright(whole), low)
                dx[rows] = torch.mm(whole, head)[: len(logits)]
            if dside is not None and side is not None and up is not None:
                torch.mm(logits.float(), up, out=dside[rows])
                up.grad.addmm_(logits.float().T, side[rows])
        ctx.save_for_backward(dx, dside)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum() / divisor, losses

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, _losses: Any) -> tuple[Any, ...]:
        dx, dside = ctx.saved_tensors
        return dx, dside, None, None, None, None, None


def _softmax(logits: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    """Losses of rows of logits; with `scale` the logits are overwritten by their gradients."""
    losses = torch.empty(logits.shape[0], device=logits.device)
    step = SLICE if logits.device.type == "cpu" else logits.shape[0]
    for start in range(0, logits.shape[0], step):
        part = logits[start : start + step]
        wanted = targets[start : start + step].unsqueeze(1)
        wide = part.float()
        picked = wide.gather(1, wanted)
        top = wide.amax(1, keepdim=True)
        wide = wide.sub_(top) if scale is not None else wide - top
        total = wide.exp_().sum(1, keepdim=True)
        losses[start : start + step] = (top + total.log() - picked).squeeze(1)
        if scale is not None:
            factor = scale[start : start + step].unsqueeze(1)
            wide = wide.mul_(factor / total)
            wide.scatter_add_(1, wanted, -factor)
            if wide is not part:
                part.copy_(wide)
    return losses


def loss(
    model: GPT2, x: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, divisor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sum of the rows' losses over `divisor`, and each row's own loss.

    Where gradients are enabled, those of the output matrix are written at once; only call backward() on the sum itself.
    """
    lora = model.lora.get(model.head_name)
    side = None if lora is None else torch.nn.functional.linear(x.float(), lora.down) * lora.scale
    total, losses = _Loss.apply(x, side, model, targets, weights, divisor, torch.is_grad_enabled())
    return total, losses
