"""Pairwise judging: what a judge prefers is read plainly or not at all, and the place of an answer decides nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.pairwise import Place, combine, compare_prompt, compare_request, read_place
from pairsmith.pairs.reference_score import Unreadable


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("[[A]]", "A"),
        (" [[ B ]]\n", "B"),
        ("[[C]]", "tie"),
        ("[[tie]]", "tie"),
        ("A", "A"),
        ("b.", "B"),
        ("Tie", "tie"),
        ("**A**", "A"),
        ("Response B", "B"),
        ("The winner is: A", "A"),
        ('{"winner": "B"}', "B"),
        ('{"reason": "shorter", "verdict": "tie"}', "tie"),
        ("A is right, B is not.\n\n[[A]]", "A"),
        ("<think>[[B]]?</think>[[A]]", "A"),
        ('I was to say "[[A]]" or "[[B]]". B is better: [[B]]', "B"),
    ],
)
def test_a_plain_verdict_is_read(answer: str, place: Place) -> None:
    assert read_place(answer) == place


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "both",
        "A or B",
        "C is better",
        "I prefer the first one",
        "[[D]]",
        "[[A]] or [[B]], I cannot say",
        "{}",
    ],
)
def test_anything_else_is_unreadable(answer: str) -> None:
    with pytest.raises(Unreadable):
        read_place(answer)


@given(st.text(max_size=200))
def test_any_text_is_a_place_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert read_place(text) in ("A", "B", "tie")


@pytest.mark.parametrize(
    ("as_first", "as_second", "outcome", "value", "consistent"),
    [
        ("A", "B", "win", 1.0, True),
        ("B", "A", "loss", 0.0, True),
        ("tie", "tie", "tie", 0.5, True),
        ("A", "A", "tie", 0.5, False),
        ("B", "B", "tie", 0.5, False),
        ("A", "tie", "win", 1.0, False),
        ("tie", "A", "loss", 0.0, False),
    ],
)
def test_both_orders_together_decide(
    as_first: Place, as_second: Place, outcome: str, value: float, consistent: bool
) -> None:
    both = combine(as_first, as_second)
    assert (both.outcome, both.value, both.consistent) == (outcome, value, consistent)


@given(st.sampled_from(["A", "B", "tie"]), st.sampled_from(["A", "B", "tie"]))
def test_exchanging_the_two_turns_the_result_round(first: Place, second: Place) -> None:
    assert combine(first, second).value + combine(second, first).value == 1.0


def test_the_question_holds_both_answers_in_their_order_and_the_reference() -> None:
    prompt = compare_prompt("Name a colour.", "warm", "red", "blue", "orange")
    places = [prompt.index(text) for text in ("Name a colour.", "warm", "red", "blue", "orange")]
    assert places == sorted(places)
    assert "Input:" not in compare_prompt("Name a colour.", "", "red", "blue", "orange")
    plain, explained = compare_request(prompt, explain=False), compare_request(prompt, explain=True)
    assert "nothing but" in plain.messages[-1].content
    assert "Explain" in explained.messages[-1].content
    assert (plain.temperature, plain.seed) == (0.0, 123)
