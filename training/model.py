"""GPT-2's tensors, by the names that the official files use, and where their gradients go.

A product weight is stored as torch's linear layers have it, [out, in]; the official files hold the transposed
matrix (`weights.py` turns them). `tensors` are the fp32 originals. `compute` holds, where bf16 is used, the bf16 copies
of the product weights that forward and backward read; elsewhere it is the same objects. Gradients are written straight
into the buffers in `gradients` (see `optimiser.py`): nothing is allocated for them in a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from .shapes import Shape

PRODUCTS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
HEAD = "lm_head.weight"


@dataclass(slots=True)
class Lora:
    """A low-rank addition to one product: x @ down.T (per group) @ up.T * scale. The fused q|k|v has 3 groups."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float
    groups: int = 1

    def delta(self) -> torch.Tensor:
        """What is added to the weight, [out, in]."""
        downs, ups = self.down.chunk(self.groups), self.up.chunk(self.groups)
        return torch.cat([up @ down for down, up in zip(downs, ups, strict=True)]) * self.scale


class GPT2:
    """The tensors of one model. Not a `torch.nn.Module`: the forward passes are functions over it."""

    def __init__(self, shape: Shape, tensors: dict[str, torch.Tensor]) -> None:
        expected = dict(sizes(shape))
        if set(expected) != set(tensors):
            odd = sorted(set(expected) ^ set(tensors))
            raise ValueError(f"tensors do not match the shape: {', '.join(odd[:5])}")
        self.shape = shape
        self.tensors = tensors
        self.compute: dict[str, torch.Tensor] = dict(tensors)
        self.gradients: dict[str, torch.Tensor] = {}
        self.fresh: set[str] = set()
        self.written: dict[str, list[torch.Tensor]] = {}
        """For embeddings that only `add_rows` writes to: the rows that this step's gradient has."""
        self.lora: dict[str, Lora] = {}
        self.dropout = 0.0

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.tensors["wte.weight"].device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the products."""
        return self.compute[self.head_name].dtype

    @property
    def head_name(self) -> str:
        """The name of the matrix that makes logits: the embedding itself where it is tied."""
        return "wte.weight" if self.shape.tied_head else HEAD

    def use(self, dtype: torch.dtype) -> None:
        """Compute products in `dtype` from now on; the originals stay as they are."""
        for name in product_names(self.shape):
            original = self.tensors[name]
            self.compute[name] = original if original.dtype == dtype else original.to(dtype)

    def to(self, device: torch.device) -> GPT2:
        """The same model on `device`. Raises torch's out-of-memory errors."""
        if device == self.device:
            return self
        moved = GPT2(self.shape, {name: tensor.to(device) for name, tensor in self.tensors.items()})
        moved.dropout = self.dropout
        return moved

    def merged(self) -> dict[str, torch.Tensor]:
        """The tensors with any LoRA added in (new tensors where it is)."""
        tensors = dict(self.tensors)
        for name, lora in self.lora.items():
            tensors[name] = tensors[name] + lora.delta().to(tensors[name].dtype)
        return tensors

    def start_step(self) -> None:
        """Forget the gradients of the last step: the next writer of each overwrites it."""
        self.fresh = set(self.gradients)

    def add_product(self, name: str, left: torch.Tensor, right: torch.Tensor) -> None:
        """Add left @ right to the gradient of `name`, if it is trained."""
        gradient = self.gradients.get(name)
        if gradient is None:
            return
        if name in self.fresh:
            self.fresh.discard(name)
            torch.mm(left, right, out=gradient)
        else:
            gradient.addmm_(left, right)

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add `value` to the gradient of `name`, if it is trained."""
        gradient = self.gradients.get(name)
        if gradient is None:
            return
        if name in self.fresh:
            self.fresh.discard(name)
            gradient.copy_(value)
        else:
            gradient.add_(value)

    def add_rows(self, name: str, index: torch.Tensor, rows: torch.Tensor) -> None:
        """Add rows to the gradient of an embedding, if it is trained."""
        gradient = self.gradients.get(name)
        if gradient is None:
            return
        if name in self.fresh:
            self.fresh.discard(name)
            self._clear(name)
        if name in self.written:
            self.written[name].append(index)
        gradient.index_add_(0, index, rows.to(gradient.dtype))

    def finish_step(self) -> None:
        """Zero the gradients that nothing wrote to."""
        for name in self.fresh:
            self._clear(name)
        self.fresh = set()

    def _clear(self, name: str) -> None:
        gradient, written = self.gradients[name], self.written.get(name)
        if written is None:
            gradient.zero_()
            return
        for index in written:
            gradient.index_fill_(0, index, 0.0)
        written.clear()


def sizes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name and size, in the order of the forward pass."""
    width = shape.width
    yield "wte.weight", (shape.vocabulary, width)
    yield "wpe.weight", (shape.context, width)
    outs_ins = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    for layer in range(shape.layers):
        for norm, products in (("ln_1", PRODUCTS[:2]), ("ln_2", PRODUCTS[2:])):
            yield f"h.{layer}.{norm}.weight", (width,)
            yield f"h.{layer}.{norm}.bias", (width,)
            for product in products:
                out, into = outs_ins[PRODUCTS.index(product)]
                yield f"h.{layer}.{product}.weight", (out, into)
                yield f"h.{layer}.{product}.bias", (out,)
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)
    if not shape.tied_head:
        yield HEAD, (shape.vocabulary, width)


def product_names(shape: Shape) -> list[str]:
    """The weights that enter matrix products, hence have a bf16 copy where bf16 is used."""
    names = [f"h.{layer}.{product}.weight" for layer in range(shape.layers) for product in PRODUCTS]
    return [*names, "wte.weight" if shape.tied_head else HEAD]


def random_model(shape: Shape, seed: int, device: str | torch.device = "cpu") -> GPT2:
    """Random weights as GPT-2 was initialised: N(0, 0.02), residual projections scaled by 1/sqrt(2 * layers)."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Any] = {}
    for name, size in sizes(shape):
        if name.endswith("bias"):
            tensor = torch.zeros(size)
        elif ".ln_" in name or name.startswith("ln_f"):
            tensor = torch.ones(size)
        else:
            scale = 0.02 / (2 * shape.layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
            tensor = torch.empty(size).normal_(0.0, scale, generator=generator)
        tensors[name] = tensor.to(device)
    return GPT2(shape, tensors)


def with_head(model: GPT2, tied: bool) -> GPT2:
    """The same model with a tied or an own output matrix; an own one starts as a copy of the embedding.

    Raises ValueError where an own matrix that differs from the embedding would be thrown away.
    """
    if model.shape.tied_head == tied:
        return model
    values = model.shape.as_json() | {"tied_head": tied}
    tensors = dict(model.tensors)
    if tied:
        if not torch.equal(tensors.pop(HEAD), tensors["wte.weight"]):
            raise ValueError("the model's output matrix differs from its embedding: it cannot be tied")
    else:
        tensors[HEAD] = tensors["wte.weight"].clone()
    return GPT2(Shape(**values), tensors)
