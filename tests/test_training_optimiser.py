"""AdamW over flat buffers, the learning rate schedules and the order of the data."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from pairsmith.training import config, forward, memory, schedule
from pairsmith.training.batches import pack
from pairsmith.training.optimiser import AdamW, Rates
from pairsmith.training.reference import Reference
from pairsmith.training.shapes import Shape
from tests.small_models import lively_model, random_examples


def test_eight_steps_equal_torch_adamw_on_the_padded_batch() -> None:
    from pairsmith.training.data import pad_examples

    model = lively_model(Shape(2, 32, 2, 64, 300, tied_head=False))
    reference = Reference(model)
    plain = torch.optim.AdamW(reference.parameters(), lr=1e-3, weight_decay=0.1)
    ours = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    for seed in range(8):
        examples = random_examples(4, 300, shared=12, masked=False, seed=seed)
        inputs, targets = (torch.tensor(rows) for rows in pad_examples(examples, 299))
        plain.zero_grad()
        expected = reference.loss(inputs, targets)
        expected.backward()
        plain.step()
        ours.start_step(model)
        found, _ = forward.losses(model, pack(examples))
        found.backward()
        model.finish_step()
        ours.step(1e-3)
        assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=2e-5)


def test_bf16_training_keeps_fp32_masters() -> None:
    model = lively_model(Shape(1, 32, 2, 64, 300))
    optimiser = AdamW(model, Rates(weight_decay=0.0), torch.bfloat16, dict(model.tensors))
    name = "h.0.mlp.c_fc.weight"
    before = model.tensors[name].clone()
    examples = random_examples(4, 300, shared=5, masked=False)
    for _ in range(3):
        optimiser.start_step(model)
        forward.losses(model, pack(examples))[0].backward()
        model.finish_step()
        optimiser.step(1e-6)
    # far below what bf16 could store, yet not lost
    assert 0 < float((model.tensors[name] - before).abs().max()) < 1e-5
    assert model.compute[name].dtype == torch.bfloat16
    assert torch.equal(model.compute[name], model.tensors[name].bfloat16())


def test_state_goes_back_and_forth() -> None:
    model = lively_model(Shape(1, 32, 2, 64, 300))
    optimiser = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    optimiser.start_step(model)
    forward.losses(model, pack(random_examples(4, 300, 5, False)))[0].backward()
    model.finish_step()
    optimiser.step(1e-3)
    saved = {name: tensor.clone() for name, tensor in optimiser.state().items()}
    other = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    other.restore(saved)
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in saved.items())


def test_the_gradient_norm_is_the_norm_of_all_gradients() -> None:
    model = lively_model(Shape(1, 32, 2, 64, 300))
    optimiser = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    optimiser.start_step(model)
    forward.losses(model, pack(random_examples(4, 300, 5, False)))[0].backward()
    model.finish_step()
    expected = torch.cat([gradient.flatten() for gradient in model.gradients.values()]).norm()
    assert optimiser.norm() == pytest.approx(float(expected), rel=1e-5)


def _three_steps(alone: bool, dtype: torch.dtype = torch.float32) -> tuple[AdamW, list[float]]:
    model = lively_model(Shape(2, 32, 2, 64, 3000, tied_head=False))
    optimiser = AdamW(model, Rates(), dtype, dict(model.tensors), alone)
    norms = []
    for seed in range(3):
        optimiser.start_step(model)
        examples = random_examples(4, 300, shared=6, masked=False, seed=seed)
        forward.losses(model, pack(examples))[0].backward()
        model.finish_step()
        norms.append(optimiser.norm())
        optimiser.step(1e-2, scale=0.5)
    return optimiser, norms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding_rows_that_no_token_used_are_updated_to_the_bit(dtype: torch.dtype) -> None:
    by_row, whole = _three_steps(True, dtype), _three_steps(False, dtype)
    assert len(by_row[0].groups) > len(whole[0].groups)
    assert by_row[1] == pytest.approx(whole[1], rel=1e-6)
    for name, tensor in whole[0].model.tensors.items():
        assert torch.equal(by_row[0].model.tensors[name], tensor), name
    expected = whole[0].state()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in by_row[0].state().items())


def test_rows_with_a_past_are_known_again_after_a_resume() -> None:
    optimiser, _ = _three_steps(True)
    saved = {name: tensor.clone() for name, tensor in optimiser.state().items()}
    model = lively_model(Shape(2, 32, 2, 64, 3000, tied_head=False))
    other = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    other.restore(saved)
    by_row = [pair for pair in zip(optimiser.groups, other.groups, strict=True) if pair[0].live is not None]
    assert [group.names for group, _ in by_row] == [["wte.weight"], ["wpe.weight"]]
    for group, restored in by_row:
        assert 0 < int(group.live.sum()) < len(group.live)
        assert torch.equal(group.live, restored.live)


def test_big_buffers_are_zeros_that_can_be_written_to() -> None:
    flat = memory.zeros((5 << 20) + 3, torch.bfloat16, torch.device("cpu"))
    assert flat.shape == ((5 << 20) + 3,)
    assert flat.dtype == torch.bfloat16
    assert not flat.any()
    flat.fill_(2)
    assert float(flat.float().mean()) == 2.0


def test_orders_are_those_of_a_shuffling_dataloader() -> None:
    torch.manual_seed(123)
    loader = DataLoader(list(range(37)), batch_size=8, shuffle=True, drop_last=True, collate_fn=list)
    plain = DataLoader(list(range(5)), batch_size=2, collate_fn=list)
    order = schedule.Order(123)
    for _ in range(3):
        expected = [item for batch in loader for item in batch]
        assert order.start_epoch(37)[:32] == expected
        list(plain)
        order.draw_unshuffled()


def test_an_interrupted_epoch_is_drawn_again() -> None:
    order = schedule.Order(7)
    first = order.start_epoch(20)
    order.draw(20)
    state = order.before, order.generator.get_state()
    following = order.start_epoch(20)
    other = schedule.Order(99)
    assert other.resume_epoch(20, *state) == first
    assert other.start_epoch(20) == following


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_schedules_warm_up_and_end_where_they_should(name: str) -> None:
    settings = config.parse(
        {"version": 1, "base": "scratch:tiny", "schedule": name, "warmup_steps": 4, "min_learning_rate": 0.1}
    )
    rates = [schedule.learning_rate(settings, step, 20) for step in range(1, 21)]
    assert rates[0] == pytest.approx(settings.learning_rate / 4)
    assert rates[3] == pytest.approx(settings.learning_rate)
    assert rates[-1] == pytest.approx(settings.learning_rate * (1.0 if name == "constant" else 0.1))
    assert rates[3:] == sorted(rates[3:], reverse=True)
