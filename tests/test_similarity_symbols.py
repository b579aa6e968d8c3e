"""The second look: what differs only in symbols is not a duplicate, what differs only in punctuation is."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.similarity import SimilarityIndex
from pairsmith.pairs.tokens import rouge_tokens, symbol_tokens, word_tokens

DIFFERENT = [
    ("Explain C++ classes", "Explain C# classes"),
    ("Explain C++ classes", "Explain C classes"),
    (
        "How would you write a function that sorts a list of names in C++?",
        "How would you write a function that sorts a list of names in C#?",
    ),
    ("What does `git branch -d` do to a branch?", "What does `git branch -D` do to a branch?"),
    ("Add 1.5 to ten", "Add 15 to ten"),
    (
        "Compute 12 + 7 and explain every step of the calculation",
        "Compute 12 - 7 and explain every step of the calculation",
    ),
    ("When is a == b true in Python?", "When is a != b true in Python?"),
    ("Draw the set A ∪ B as a diagram", "Draw the set A ∩ B as a diagram"),
    ("What is the rule for x^2 here", "What is the rule for x*2 here"),
]
ALIKE = [
    ("Explain C++ classes", "Explain C++ classes."),
    ("Explain C# and its history", 'Explain "C#" and its history!'),
    ("List three uses of git stash.", "List three uses of **git stash**"),
    ("List three uses of git stash.", "- List three uses of `git stash`:"),
    ("Give a well-known example", "Give a well known example…"),
    ("What's new?", "What’s new"),
    ("Use cats/dogs as an example", "Use cats / dogs as an example"),
    (
        "Say how one best spends $1,000 on books for a new school",
        "Say how one best spends $1000 on books for a new school.",
    ),
    ("Add 3 + 4 to it", "Add 3+4 to it."),
    ("Write a note on “time” — in brief", 'Write a note on "time" - in brief'),
]
NO_LATIN = [
    ("日本の首都はどこですか", "日本の首都はどこですか?"),
    ("भारत की राजधानी क्या है", "भारत की राजधानी क्या है।"),
    ("ประเทศไทยมีกี่จังหวัด", "ประเทศไทยมีกี่จังหวัด?"),
    ("Какая столица России", "КАКАЯ СТОЛИЦА РОССИИ?"),
    ("🎉🎂🎁", "🎉🎂🎁!"),
    ("什么是ＡＢＣ？", "什么是abc?"),
]


def alike(a: str, b: str, **options: bool) -> bool:
    index = SimilarityIndex(**options)
    index.add(1, a)
    return index.check(b) is not None


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_a_difference_in_meaningful_symbols_is_kept(a: str, b: str) -> None:
    assert not alike(a, b)
    assert not alike(b, a)


@pytest.mark.parametrize(("a", "b"), ALIKE)
def test_punctuation_quotes_and_markup_do_not_rescue_a_duplicate(a: str, b: str) -> None:
    assert alike(a, b)
    assert alike(b, a)


@pytest.mark.parametrize(("a", "b"), NO_LATIN)
def test_duplicates_in_other_scripts_are_seen_but_not_in_parity_mode(a: str, b: str) -> None:
    assert alike(a, b)
    assert not rouge_tokens(a) or a.startswith("什么")


def test_parity_mode_is_as_blind_as_the_reference() -> None:
    assert alike("Explain C++ classes", "Explain C# classes", parity=True)
    assert not alike("日本の首都はどこですか", "日本の首都はどこですか", parity=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [("日本の首都は", "犬と猫の違い"), ("🎉🎂🎁", "🚗🚕🚙"), ("भारत की राजधानी", "नेपाल का इतिहास")],
)
def test_different_texts_in_other_scripts_are_not_alike(a: str, b: str) -> None:
    assert not alike(a, b)


def test_neighbours_that_symbols_tell_apart_are_shown_but_not_called_alike() -> None:
    index = SimilarityIndex()
    index.add(1, "Explain C++ classes")
    (near,) = index.nearest("Explain C# classes", 0.5)
    assert (near.score, near.alike) == (1.0, False)


@given(st.text(alphabet=string.printable, max_size=60))
def test_word_tokens_of_ascii_text_equal_rouge_tokens(text: str) -> None:
    assert word_tokens(text) == rouge_tokens(text) or not rouge_tokens(text)


@given(st.text(alphabet=string.ascii_letters + " .,;:!?'\"()", max_size=60))
def test_prose_has_no_symbol_tokens_but_names_that_begin_with_a_dot(text: str) -> None:
    found = symbol_tokens(text)
    assert found is None or any(token.startswith(".") for token in found)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("e\u0301te\u0301 ÉTÉ", ["été", "été"]),
        ("👩‍👩‍👧 🇩🇪🇫🇷 👍🏽", ["👩‍👩‍👧", "🇩🇪", "🇫🇷", "👍🏽"]),
        ("東京Tower", ["東", "京", "tower"]),
        ("don't snake_case", ["don", "t", "snake", "case"]),
        ("?!", ["?", "!"]),
        ("", []),
    ],
)
def test_word_tokens_of_many_scripts(text: str, tokens: list[str]) -> None:
    assert word_tokens(text) == tokens


@given(st.text(max_size=200))
def test_any_text_can_be_cut_and_compared(text: str) -> None:
    symbol_tokens(text)
    if word_tokens(text):
        assert alike(text, text)
