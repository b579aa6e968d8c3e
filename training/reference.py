"""A straightforward GPT-2 over padded batches, op by op as the reference text writes it: what the fast path must equal.

Separate q, k and v products, LayerNorm and GELU by their formulas, an explicit causal mask, logits for every position.
Used by the equality tests and the benchmarks, never in training.
"""

from __future__ import annotations

import math

import torch

from .data import IGNORED
from .model import GPT2


class Reference:
    """Plain parameters with gradients, copied from a model; the head is an own matrix where the model's is."""

    def __init__(self, model: GPT2) -> None:
        self.shape = model.shape
        self.values: dict[str, torch.Tensor] = {}
        for name, tensor in model.merged().items():
            if ".attn.c_attn." in name:
                for part, piece in zip("qkv", tensor.float().chunk(3), strict=True):
                    self.values[name.replace("c_attn", part)] = piece.clone().requires_grad_()
            else:
                self.values[name] = tensor.detach().float().clone().requires_grad_()
        context = self.shape.context
        self.mask = torch.triu(torch.ones(context, context, device=model.device), diagonal=1)

    def parameters(self) -> list[torch.Tensor]:
        """What an optimiser updates."""
        return list(self.values.values())

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [examples, length, vocabulary] for ids [examples, length]."""
        values = self.values
        length = ids.shape[1]
        x = values["wte.weight"][ids] + values["wpe.weight"][torch.arange(length, device=ids.device)]
        for layer in range(self.shape.layers):
            x = x + self._attention(f"h.{layer}.attn", self._norm(f"h.{layer}.ln_1", x))
            hidden = self._linear(f"h.{layer}.mlp.c_fc", self._norm(f"h.{layer}.ln_2", x))
            x = x + self._linear(f"h.{layer}.mlp.c_proj", _gelu(hidden))
        head = values["wte.weight" if self.shape.tied_head else "lm_head.weight"]
        return self._norm("ln_f", x) @ head.T

    def losses(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of every position, 0 where the target is IGNORED."""
        flat = torch.nn.functional.cross_entropy(
            self.logits(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return flat.view_as(targets)

    def loss(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the labels, as the reference text computes it."""
        logits = self.logits(ids)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.values[f"{name}.weight"], self.values[f"{name}.bias"])

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        normed = (x - mean) / torch.sqrt(variance + self.shape.epsilon)
        return self.values[f"{name}.weight"] * normed + self.values[f"{name}.bias"]

    def _attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        count, length, width = x.shape
        q, k, v = (
            self._linear(f"{name}.{part}", x).view(count, length, self.shape.heads, -1).transpose(1, 2)
            for part in "qkv"
        )
        scores = q @ k.transpose(2, 3)
        scores = scores.masked_fill(self.mask.bool()[:length, :length], -torch.inf)
        weights = torch.softmax(scores / self.shape.head_width**0.5, dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(count, length, width)
        return self._linear(f"{name}.c_proj", mixed)


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


def generate(
    model: Reference, prompt: list[int], max_new_tokens: int, end_of_text: int
) -> list[int]:  # the reference text's loop, greedy
    """Greedy tokens after a prompt, the whole text computed again for each."""
    ids = torch.tensor([prompt], device=model.mask.device)
    new: list[int] = []
    with torch.no_grad():
        for _ in range(max_new_tokens):
            if ids.shape[1] > model.shape.context:
                break
            token = int(model.logits(ids)[0, -1].argmax())
            if token == end_of_text:
                break
            new.append(token)
            ids = torch.cat([ids, torch.tensor([[token]], device=ids.device)], dim=1)
    return new
