"""LoRA (Hu et al., 2021): small trained matrices beside every frozen product, as the reference text applies them."""

from __future__ import annotations

import math

import torch

from .model import GPT2, Lora, product_names


def attach(model: GPT2, rank: int, alpha: float, seed: int) -> dict[str, torch.Tensor]:
    """Give every product (q, k and v apart; an output matrix of its own too) a LoRA; the tensors to train, by name.

    `down` starts uniform as torch's linear layers do, `up` at zero: the model is unchanged at first.
    """
    generator = torch.Generator().manual_seed(seed)
    trained: dict[str, torch.Tensor] = {}
    for name in product_names(model.shape):
        if name == "wte.weight":
            # a tied output matrix is the embedding too: changing one use alone would untie them
            continue
        out, width = model.tensors[name].shape
        groups = 3 if name.endswith("attn.c_attn.weight") else 1
        bound = math.sqrt(1 / width)
        down = torch.empty(groups * rank, width).uniform_(-bound, bound, generator=generator)
        lora = Lora(
            down.to(model.device).requires_grad_(),
            torch.zeros(out, rank, device=model.device).requires_grad_(),
            alpha / rank,
            groups,
        )
        model.lora[name] = lora
        trained |= {f"lora.{name}.down": lora.down, f"lora.{name}.up": lora.up}
    return trained
