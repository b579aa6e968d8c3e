"""Muon: matrices get updates whose singular values are alike; everything else gets AdamW's."""

from __future__ import annotations

import pytest
import torch

from pairsmith.training import forward
from pairsmith.training.batches import pack
from pairsmith.training.model import GPT2
from pairsmith.training.optimiser import AdamW, Rates
from pairsmith.training.shapes import Shape
from tests.small_models import lively_model, random_examples
from tools.embedded.muon import Muon

SHAPE = Shape(2, 32, 2, 64, 300)
RATES = Rates(weight_decay=0.0)
LEARNING_RATE = 1e-3


def muon(model: GPT2) -> Muon:
    return Muon(model, RATES, torch.float32, hands=2)


def step(model: GPT2, optimiser: AdamW, seed: int = 0) -> dict[str, torch.Tensor]:
    """What one step adds to each tensor."""
    before = {name: tensor.clone() for name, tensor in model.tensors.items()}
    optimiser.start_step(model)
    forward.losses(model, pack(random_examples(4, 300, shared=5, masked=False, seed=seed)))[0].backward()
    model.finish_step()
    optimiser.step(LEARNING_RATE)
    return {name: model.tensors[name] - old for name, old in before.items()}


@pytest.mark.parametrize("name", ["attn.c_proj", "mlp.c_fc", "mlp.c_proj"])
def test_the_singular_values_of_an_update_are_alike(name: str) -> None:
    model = lively_model(SHAPE)
    update = step(model, muon(model))[f"h.1.{name}.weight"]
    values = torch.linalg.svdvals(update) / (LEARNING_RATE * 0.2 * max(update.shape) ** 0.5)
    assert 0.4 < float(values.median()) < 1.4
    assert float(values.max()) < 1.5


def test_queries_keys_and_values_are_three_matrices() -> None:
    model = lively_model(SHAPE)
    update = step(model, muon(model))["h.0.attn.c_attn.weight"]
    for part in update.chunk(3):
        values = torch.linalg.svdvals(part) / (LEARNING_RATE * 0.2 * 32**0.5)
        assert 0.4 < float(values.median()) < 1.4


def test_embeddings_norms_and_biases_move_as_adamw_moves_them() -> None:
    model, twin = lively_model(SHAPE), lively_model(SHAPE)
    ours = step(model, muon(model))
    plain = step(twin, AdamW(twin, RATES, torch.float32, twin.tensors))
    for name, update in ours.items():
        if update.dim() == 1 or name in ("wte.weight", "wpe.weight"):
            assert torch.allclose(update, plain[name], atol=1e-8), name


def test_a_restored_state_goes_on_as_if_nothing_had_happened() -> None:
    model = lively_model(SHAPE)
    optimiser = muon(model)
    step(model, optimiser)
    twin = lively_model(SHAPE)
    with torch.no_grad():
        for name, tensor in twin.tensors.items():
            tensor.copy_(model.tensors[name])
    resumed = muon(twin)
    resumed.restore({name: tensor.clone() for name, tensor in optimiser.state().items()})
    step(model, optimiser, seed=1)
    step(twin, resumed, seed=1)
    assert all(torch.equal(tensor, twin.tensors[name]) for name, tensor in model.tensors.items())
