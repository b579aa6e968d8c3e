"""Packed batches: the same losses and gradients as a straightforward padded implementation, less work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.training import data, forward
from pairsmith.training.batches import pack, shared_tokens
from pairsmith.training.data import IGNORED, Example, Pair
from pairsmith.training.model import GPT2
from pairsmith.training.optimiser import AdamW, Rates
from pairsmith.training.prompts import STYLES
from pairsmith.training.reference import Reference
from pairsmith.training.shapes import Shape
from pairsmith.training.vocabulary import byte_vocabulary
from tests.small_models import colour_pairs, lively_model, random_examples

END = 256


def _compare(model: GPT2, examples: list[Example], end: int, share: bool) -> tuple[float, float, float]:
    """Differences to the padded reference: of the loss, of the worst label, of the worst gradient (relative)."""
    reference = Reference(model)
    inputs, targets = (torch.tensor(rows) for rows in data.pad_examples(examples, end))
    expected = reference.losses(inputs, targets)
    mean = reference.loss(inputs, targets)
    mean.backward()
    optimiser = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    packed = pack(examples, share)
    optimiser.start_step(model)
    total, losses = forward.losses(model, packed)
    total.backward()
    model.finish_step()
    cells = packed.label_cells
    worst = float((expected.detach().flatten()[cells] - losses).abs().max())
    relative = 0.0
    for name, gradient in model.gradients.items():
        if ".attn.c_attn." in name:
            parts = [reference.values[name.replace("c_attn", part)].grad for part in "qkv"]
            theirs = torch.cat(parts)
        else:
            theirs = reference.values[name].grad
        relative = max(relative, float((theirs - gradient).abs().max() / (theirs.abs().max() + 1e-12)))
    return abs(float(mean.detach()) - float(total.detach())), worst, relative


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_losses_and_gradients_equal_the_padded_implementation(style: str, masked: bool, tied: bool) -> None:
    pairs = [Pair(**pair) for pair in colour_pairs(8, 5)]
    pairs[3] = Pair("long", "Say it", "with an input of its own", "and an answer\nof two lines")
    examples = data.examples(pairs, byte_vocabulary(), STYLES[style], 1024, masked)
    model = lively_model(Shape(3, 32, 4, 256, 257, tied))
    loss, worst, gradient = _compare(model, examples, END, share=True)
    assert loss < 1e-5
    assert worst < 1e-4
    assert gradient < 1e-4


@pytest.mark.parametrize("share", [False, True])
def test_instruction_masking_at_random_places_changes_nothing_in_the_equality(share: bool) -> None:
    examples = random_examples(8, 300, shared=20, masked=True)
    _, worst, gradient = _compare(lively_model(Shape(2, 32, 2, 64, 300)), examples, 299, share)
    assert worst < 1e-4
    assert gradient < 1e-4


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=5),
    st.integers(0, 8),
    st.booleans(),
)
def test_any_batch_has_the_losses_of_the_padded_batch(
    rows: list[list[int]], common: int, masked: bool
) -> None:
    examples = []
    for place, row in enumerate(rows):
        ids = [1] * common + row
        targets = [*ids[1:], 4]
        hidden = min(len(ids) - 1, place * 2) if masked else 0
        examples.append(Example(tuple(ids), tuple([IGNORED] * hidden + targets[hidden:])))
    loss, worst, _ = _compare(lively_model(Shape(1, 8, 2, 24, 5)), examples, 4, share=True)
    assert loss < 1e-5
    assert worst < 1e-4


def test_the_common_beginning_is_computed_once() -> None:
    examples = random_examples(8, 300, shared=20, masked=False)
    packed = pack(examples)
    assert packed.shared == 20
    assert len(packed.ids) <= packed.tokens - 7 * packed.shared
    assert packed.labels == sum(example.labels for example in examples)


def test_equal_examples_keep_a_token_of_their_own() -> None:
    example = Example((1, 2, 3, 4, 5, 6), (2, 3, 4, 5, 6, 7))
    assert shared_tokens([example, example]) == 5


def test_beginnings_that_only_some_share_are_computed_once_too() -> None:
    rows = [(1, 2, 3, 4), (1, 2, 3, 5), (1, 9, 9, 9)]
    packed = pack([Example(row, (*row[1:], 7)) for row in rows])
    assert len(packed.ids) == 1 + 3 + 3 + 1
    assert packed.labels == 12
    assert sorted(packed.weights.tolist()) == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2]


def test_the_collate_examples_of_the_reference_text() -> None:
    inputs, targets = data.pad([[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]])
    assert inputs == [[0, 1, 2, 3, 4], [5, 6, 50256, 50256, 50256], [7, 8, 9, 50256, 50256]]
    assert targets == [[1, 2, 3, 4, 50256], [6, 50256, -100, -100, -100], [8, 9, 50256, -100, -100]]


def test_truncation_comes_after_labelling_and_is_counted() -> None:
    pair = Pair(1, "x" * 50, "", "y")
    example = data.example(pair, byte_vocabulary(), STYLES["phi3"], 20, masked=False)
    assert len(example.inputs) == len(example.targets) == 20
    assert END not in example.targets
    assert example.cut > 0


def test_masking_hides_the_prompt_but_not_the_response_header() -> None:
    words = byte_vocabulary()
    pair = Pair(1, "Do it", "now", "done")
    example = data.example(pair, words, STYLES["alpaca"], 1024, masked=True)
    kept = [target for target in example.targets if target != IGNORED]
    assert words.decode(kept[:-1]) == "\n\n### Response:\ndone"
    assert kept[-1] == END


def test_a_literal_end_of_text_in_the_data_is_ordinary_text() -> None:
    words = byte_vocabulary()
    example = data.example(Pair(1, "<|endoftext|>", "", "a"), words, STYLES["phi3"], 1024, masked=False)
    assert example.targets.count(END) == 1


def test_several_slices_give_the_gradients_of_the_whole_batch() -> None:
    examples = random_examples(8, 300, shared=10, masked=False)
    model = lively_model(Shape(2, 32, 2, 64, 300))
    optimiser = AdamW(model, Rates(), torch.float32, dict(model.tensors))
    labels = float(sum(example.labels for example in examples))
    found = []
    for parts in ([examples], [examples[:3], examples[3:6], examples[6:]]):
        optimiser.start_step(model)
        for part in parts:
            forward.losses(model, pack(part), labels)[0].backward()
        model.finish_step()
        found.append({name: gradient.clone() for name, gradient in model.gradients.items()})
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-6), name


def test_bf16_products_stay_close_to_fp32() -> None:
    examples = random_examples(8, 300, shared=10, masked=False)
    model = lively_model(Shape(2, 64, 2, 64, 300))
    with torch.no_grad():
        exact = float(forward.losses(model, pack(examples))[0])
        model.use(torch.bfloat16)
        rough = float(forward.losses(model, pack(examples))[0])
    assert rough == pytest.approx(exact, rel=2e-2)
