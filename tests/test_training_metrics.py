"""Measures equal their reference libraries or a computation by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pairsmith.training import evaluate, evaluation_loss, forward, metrics, statistics
from pairsmith.training.batches import Packed, pack
from pairsmith.training.data import IGNORED, Example
from pairsmith.training.errors import TrainingError
from pairsmith.training.shapes import Shape
from pairsmith.training.vocabulary import byte_vocabulary
from tests.small_models import lively_model, random_examples

EXPECTED = ["The car is as fast as lightning.", "Jane Austen.", "It is cumulonimbus, a tall cloud.", "42"]
ANSWERS = ["The car is as fast as a bullet.", "The author is Jane Austen.", "It is a cumulus cloud.", "42"]


def test_bleu_is_sacrebleus() -> None:
    import sacrebleu

    found = metrics.bleu(ANSWERS, EXPECTED)
    assert found["value"] == pytest.approx(sacrebleu.corpus_bleu(ANSWERS, [EXPECTED]).score, abs=1e-6)
    assert "tok:13a" in found["signature"]
    for answer, wanted in zip(ANSWERS, EXPECTED, strict=True):
        expected = sacrebleu.sentence_bleu(answer, [wanted]).score
        assert metrics.sentence_bleu(answer, wanted) == pytest.approx(expected, abs=1e-6)


def test_rouge_is_googles() -> None:
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for answer, wanted, found in zip(ANSWERS, EXPECTED, metrics.rouge(ANSWERS, EXPECTED), strict=True):
        theirs = scorer.score(wanted, answer)
        assert found == {name: pytest.approx(theirs[name].fmeasure, abs=1e-6) for name in theirs}


def test_the_bleu_interval_holds_the_corpus_score() -> None:
    low, high = metrics.corpus_bleu_interval(ANSWERS * 5, EXPECTED * 5) or (0.0, 0.0)
    assert low < metrics.bleu(ANSWERS * 5, EXPECTED * 5)["value"] < high
    assert metrics.corpus_bleu_interval(ANSWERS[:1], EXPECTED[:1]) is None


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ("The Answer.", "answer", True),
        ("an  apple!", "Apple", True),
        ("Größe", "GRÖSSE", True),
        ("東京。", "東京", True),
        ("yes", "no", False),
        ("+", "-", False),
        ("?!", "?!", True),
    ],
)
def test_short_answers_match_after_normalising(answer: str, expected: str, same: bool) -> None:
    assert metrics.short_answer_match(answer, expected) is same


def test_exact_match_forgives_only_white_space_at_the_ends() -> None:
    assert metrics.exact_match(" 42\n", "42")
    assert not metrics.exact_match("42.", "42")


def test_items_and_means_agree() -> None:
    scores = evaluate.score_items(ANSWERS, EXPECTED)
    items = [
        {"model_response": answer, "output": wanted, **score}
        for answer, wanted, score in zip(ANSWERS, EXPECTED, scores, strict=True)
    ]
    found = evaluate.measure(items)
    assert found["exact_match"]["value"] == 0.25
    assert found["rougeL"]["value"] == pytest.approx(sum(item["rougeL"] for item in scores) / 4)
    assert found["rougeL"]["n"] == 4


def test_losses_per_example_equal_an_independent_loop() -> None:
    model = lively_model(Shape(2, 32, 2, 64, 300))
    examples = random_examples(9, 300, shared=12, masked=True)
    for (total, count), example in zip(evaluation_loss.sums(model, examples), examples, strict=True):
        logits = forward.logits(model, torch.tensor([example.inputs]))[0].log_softmax(-1)
        pairs = [(at, target) for at, target in enumerate(example.targets) if target != IGNORED]
        assert count == len(pairs)
        assert total == pytest.approx(-sum(float(logits[at, target]) for at, target in pairs), abs=1e-3)


def test_one_long_example_does_not_make_its_short_neighbours_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(Shape(1, 16, 2, 64, 300))
    short = random_examples(20, 300, shared=0, masked=False)
    long = Example((1,) * 60, (2,) * 60)
    expected = evaluation_loss.sums(model, [*short[:10], long, *short[10:]])
    cells = []

    def packed(batch: Sequence[Example]) -> Packed:
        cells.append(len(batch) * max(len(example.inputs) for example in batch))
        return pack(batch)

    monkeypatch.setattr(evaluation_loss, "CELLS", 300)
    monkeypatch.setattr(evaluation_loss, "pack", packed)
    found = evaluation_loss.sums(model, [*short[:10], long, *short[10:]])
    assert max(cells) <= 300
    assert [count for _, count in found] == [count for _, count in expected]
    assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in expected], abs=1e-3)


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 18, 40, 64, 65])
def test_the_perplexity_of_text_counts_every_token_once(length: int) -> None:
    model = lively_model(Shape(1, 16, 2, 16, 50))
    ids = [(7 * place) % 50 for place in range(length)]
    loss, count = metrics.perplexity_of_text(model, ids, stride=8)
    assert count == length - 1
    if length == 1:
        assert math.isnan(loss)
        return
    expected = 0.0
    done = 1
    for start in range(0, length - 1, 8):
        window = ids[start : start + 17]
        logits = forward.logits(model, torch.tensor([window[:-1]]))[0].log_softmax(-1)
        for place in range(1, len(window)):
            if start + place >= done:
                expected -= float(logits[place - 1, window[place]])
        done = max(done, start + len(window))
        if done >= length:
            break
    assert loss * count == pytest.approx(expected, abs=1e-3)


def test_multiple_choice_equals_a_computation_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('"What, then?",one,two,three,four,B\nNext?,a,b,c,d,D\n"Say ""no""",x,y,z,w,A\n')
    questions = metrics.read_questions(path)
    assert questions[0].text == "What, then?"
    words = byte_vocabulary()
    model = lively_model(Shape(2, 32, 2, 128, 257))
    found = metrics.choose(model, words, questions)
    hits = 0
    for question, row in zip(questions, found, strict=True):
        best, likeliest = None, -math.inf
        for place, letter in enumerate("ABCD"):
            ids = words.encode(metrics.question_prompt(question) + " " + letter)
            logits = forward.logits(model, torch.tensor([ids]))[0].log_softmax(-1)
            value = float(logits[-3, ids[-2]] + logits[-2, ids[-1]])
            assert row[place] == pytest.approx(value, abs=1e-3)
            if value > likeliest:
                best, likeliest = place, value
        hits += best == question.answer
    assert metrics.accuracy(questions, found)["accuracy"] == pytest.approx(hits / 3)


@pytest.mark.parametrize("text", ["", "only a question,B\n", "q,a,b,c,d,E\n", "q,a,b,c,d,\n"])
def test_odd_question_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.csv").write_text(text)
    with pytest.raises(TrainingError):
        metrics.read_questions(tmp_path / "q.csv")


def test_a_long_prompt_loses_its_beginning_not_its_question() -> None:
    words = byte_vocabulary()
    model = lively_model(Shape(1, 16, 2, 32, 257))

    def chosen(text: str) -> list[float]:
        return metrics.choose(model, words, [metrics.Question(text, ("a", "b"), 0)])[0]

    whole = chosen("x" * 500)
    assert len(whole) == 2
    assert chosen("y" + "x" * 499) == pytest.approx(whole)
    assert chosen("x" * 499 + "y") != pytest.approx(whole)


def _skewed(name: str, count: int, generator: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    if name == "beta":
        return 100 * generator.beta(0.5, 2, count)
    if name == "steps":
        return generator.choice([0, 10, 40, 85, 95, 100], count, p=[0.45, 0.1, 0.1, 0.1, 0.1, 0.15]).astype(
            float
        )
    return 100 - np.minimum(100, generator.exponential(15, count))


@pytest.mark.parametrize("name", ["beta", "steps", "ceiling"])
def test_the_interval_covers_the_true_mean(name: str) -> None:
    generator = np.random.default_rng(7)
    true = float(_skewed(name, 2_000_000, generator).mean())
    hits = 0
    for seed in range(1000):
        found = statistics.interval(_skewed(name, 110, generator).tolist(), seed, resamples=1000)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= true <= found.high
    assert 930 <= hits <= 970


def test_intervals_of_shares_and_of_too_few() -> None:
    assert statistics.interval([]).n == 0
    assert statistics.interval([3.0]).low is None
    assert statistics.interval([5.0, 5.0]).low == 5.0
    half = statistics.interval([0.0, 1.0] * 50)
    assert half.low == pytest.approx(0.4038, abs=1e-3)
    assert half.high == pytest.approx(0.5962, abs=1e-3)
    assert (statistics.interval([1.0] * 20).high, statistics.interval([0.0] * 20).low) == (1.0, 0.0)


def test_the_paired_test_is_exact_for_few_pairs() -> None:
    # all five differences positive: 2 of 32 assignments of signs are as extreme
    assert statistics.paired([2, 3, 4, 5, 6], [1, 1, 1, 1, 1]).p == pytest.approx(2 / 32)
    assert statistics.paired([1, 2], [1, 2]).p == 1.0


def test_the_paired_test_keeps_its_level() -> None:
    generator = np.random.default_rng(3)
    hits = sum(
        statistics._sign_flip(generator.exponential(1, 40) - generator.exponential(1, 40), generator) < 0.05
        for _ in range(300)
    )
    assert hits <= 30


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="pairs"):
        statistics.paired([1.0], [1.0, 2.0])
