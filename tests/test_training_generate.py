"""Batched generation with kept keys and values: the tokens of the slow way."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from pairsmith.training import generate as module
from pairsmith.training.batches import Packed, pack
from pairsmith.training.data import Example
from pairsmith.training.generate import Answer, Cancelled, Sampling, generate
from pairsmith.training.reference import Reference
from pairsmith.training.reference import generate as slow
from pairsmith.training.shapes import Shape
from tests.small_models import lively_model

END = 59


def _prompts(count: int, shared: int, seed: int = 1) -> list[list[int]]:
    draw = random.Random(seed)
    first = [draw.randrange(END) for _ in range(shared)]
    return [first + [draw.randrange(END) for _ in range(draw.randrange(1, 40))] for _ in range(count)]


@pytest.mark.parametrize("shared", [0, 15])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_greedy_tokens_equal_uncached_generation(shared: int, rows: int) -> None:
    model = lively_model(Shape(3, 32, 4, 96, 60, tied_head=False))
    for name in model.tensors:
        model.tensors[name] = model.tensors[name] * 3
    model.use(model.tensors["wte.weight"].dtype)
    prompts = _prompts(20, shared)
    reference = Reference(model)
    expected = [slow(reference, prompt, 70, END) for prompt in prompts]
    found = generate(model, prompts, END, Sampling(70), rows=rows)
    assert [answer.tokens for answer in found] == expected
    assert {answer.finish_reason for answer in found} <= {"stop", "length"}


def test_an_answer_ends_with_the_context() -> None:
    model = lively_model(Shape(1, 16, 2, 24, 60))
    answer = generate(model, [[1] * 20], 60, Sampling(100))[0]
    assert len(answer.tokens) == 5
    assert answer.finish_reason == "length"


def test_drawn_tokens_do_not_depend_on_the_batch() -> None:
    model = lively_model(Shape(2, 32, 4, 96, 60))
    prompts = _prompts(9, 5)
    sampling = Sampling(12, temperature=1.0, top_p=0.9, top_k=20, seed=5)
    together = generate(model, prompts, END, sampling, rows=9)
    apart = generate(model, prompts, END, sampling, rows=2)
    assert [answer.tokens for answer in together] == [answer.tokens for answer in apart]
    other = generate(model, prompts, END, Sampling(12, temperature=1.0, seed=6))
    assert [answer.tokens for answer in together] != [answer.tokens for answer in other]


def test_ids_without_a_text_are_never_chosen() -> None:
    model = lively_model(Shape(1, 16, 2, 64, 60))
    answers = generate(model, _prompts(4, 0), 9, Sampling(20, temperature=5.0), tokens=10)
    assert all(token < 10 for answer in answers for token in answer.tokens)


def test_every_answer_and_token_is_reported_once() -> None:
    model = lively_model(Shape(2, 32, 4, 96, 60))
    prompts = _prompts(6, 4)
    seen: dict[int, Answer] = {}
    tokens: dict[int, list[int]] = {index: [] for index in range(6)}
    answers = generate(
        model,
        prompts,
        END,
        Sampling(10),
        on_answer=lambda index, answer: seen.update({index: answer}),
        on_token=lambda index, token: tokens[index].append(token),
    )
    assert [seen[index].tokens for index in range(6)] == [answer.tokens for answer in answers]
    assert [tokens[index] for index in range(6)] == [answer.tokens for answer in answers]


def test_long_prompts_are_answered_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(Shape(2, 32, 4, 96, 60))
    prompts = _prompts(20, 5)
    expected = generate(model, prompts, END, Sampling(12))
    sizes = []

    def packed(batch: Sequence[Example]) -> Packed:
        sizes.append(len(batch) * max(len(example.inputs) for example in batch))
        return pack(batch)

    monkeypatch.setattr(module, "CELLS", 100)
    monkeypatch.setattr(module, "pack", packed)
    found = generate(model, prompts, END, Sampling(12))
    assert len(sizes) > 3
    assert max(sizes) <= 100
    assert [answer.tokens for answer in found] == [answer.tokens for answer in expected]


def test_generation_can_be_cancelled() -> None:
    model = lively_model(Shape(1, 16, 2, 64, 60))
    with pytest.raises(Cancelled):
        generate(model, _prompts(2, 0), END, Sampling(20), stop=lambda: True)
