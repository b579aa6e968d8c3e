"""Repetition without end and echoes of the question are seen, ordinary text is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.degenerate import echoes, repeats_endlessly


@pytest.mark.parametrize(
    "text",
    [
        "The answer is the " + "same thing and the " * 40,
        "Use git. " + "0" * 600,
        "\n".join(f"{i}. Commit the changes." for i in range(1, 30)),
        "Intro.\n" + "I do not know.\n" * 60,
        "的" * 500,
    ],
)
def test_text_that_repeats_to_its_end_is_degenerate(text: str) -> None:
    assert repeats_endlessly(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ha ha ha ha ha ha ha ha ha ha ha ha",
        "Row, row, row your boat.\n" * 4 + "Gently down the stream.\n" * 4,
        "| a | b |\n|" + "-" * 800 + "|\n| 1 | 2 |",
        "Title\n" + "=" * 900,
        "." * 2000,
        "\n".join(f"{i}. Step {i} does something of its own, namely {i * i}." for i in range(40)),
        "\n".join(f"x[{i}] = {i}" for i in range(200)),
        "word " * 100
        + "and then it goes on with quite another matter that is longer. "
        + str(list(range(400))),
    ],
)
def test_ordinary_text_is_not_degenerate(text: str) -> None:
    assert not repeats_endlessly(text)


@given(st.text(max_size=60).filter(lambda s: any(c.isalnum() for c in s) and s == s.strip()))
def test_any_unit_repeated_long_enough_is_seen(unit: str) -> None:
    assert repeats_endlessly("x" + f"{unit} " * (400 // len(unit) + 20))


def test_long_text_is_judged_by_its_end() -> None:
    assert repeats_endlessly("All is well here. Or is it? " * 3 + "No. " * 1_000_000)


def test_an_echo_of_the_instruction_is_seen() -> None:
    assert echoes(" explain  rebase? ", "Explain rebase.")
    assert not echoes("Rebase moves commits.", "Explain rebase.")
    assert not echoes("", "")
