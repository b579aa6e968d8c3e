"""Diversity meters: equal to counting from scratch, bounded; verbs and objects; what prompts steer away from."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.diversity import WINDOW, DiversityMeter, measure
from pairsmith.pairs.recipes import Diversity
from pairsmith.pairs.similarity import mean_nearest
from pairsmith.pairs.steering import steering
from pairsmith.pairs.tokens import distinct_n
from pairsmith.pairs.verb_nouns import verb_and_noun

WORDS = ("cat", "dog", "sun", "sea", "hat", "map", "猫", "犬")


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), max_size=30))
def test_distinct_n_is_that_of_counting_from_scratch(texts: list[list[str]]) -> None:
    given_texts = [" ".join(words) for words in texts]
    meters = measure(given_texts)
    assert meters.instructions == len(texts)
    assert (meters.distinct_1 or 0.0) == pytest.approx(distinct_n(given_texts, 1))
    assert (meters.distinct_2 or 0.0) == pytest.approx(distinct_n(given_texts, 2))


def test_only_the_newest_are_in_the_window() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choice(WORDS) for _ in range(5)) for _ in range(WINDOW + 300)]
    assert measure(texts).distinct_2 == pytest.approx(distinct_n(texts[-WINDOW:], 2))


def test_names_that_never_end_are_forgotten_and_frequent_ones_are_not() -> None:
    meter = DiversityMeter()
    for number in range(45_000):
        meter.add(f"Explain topic{'abcdefghij'[number % 10]}{number}" if number % 3 else "Explain rain")
    assert len(meter._openings) <= 40_000
    assert ("explain rain", 15_000) in meter.read().openings


def test_the_nearest_neighbour_is_that_of_the_whole_pool() -> None:
    texts = ["explain the rain in spain", "explain the rain in france", "name a river"]
    meters = measure(texts, mean_nearest)
    assert meters.nearest == pytest.approx(mean_nearest(texts))


@pytest.mark.parametrize(
    ("text", "verb", "noun"),
    [
        ("Write a short poem about the sea.", "write", "poem"),
        ("Please quickly make a list of ten fruits.", "make", "list"),
        ("Given a list of numbers, find the largest one.", "find", "one"),
        ("You are given a review. Classify its sentiment.", "classify", "sentiment"),
        ("Can you suggest some gifts for my sister?", "suggest", "gifts"),
        ("Rewrite the following sentence to be polite.", "rewrite", "sentence"),
        ("Explain the difference between merge and rebase.", "explain", "difference"),
        ("Give me a recipe for bread.", "give", "recipe"),
        ("What is the capital of Iran?", "", ""),
        ("解释什么是分支", "", ""),
        ("", "", ""),
        ("Explain.", "explain", ""),
    ],
)
def test_the_root_verb_and_its_object(text: str, verb: str, noun: str) -> None:
    assert verb_and_noun(text) == (verb, noun)


@given(st.text(max_size=300))
def test_any_text_has_a_verb_or_none(text: str) -> None:
    verb, noun = verb_and_noun(text)
    assert verb or not noun


def test_the_table_has_the_most_frequent_verbs_with_their_objects() -> None:
    meters = measure(["Write a poem."] * 3 + ["Write a letter."] + ["Sort the cards."] * 2)
    assert [(v.verb, v.count, v.nouns) for v in meters.verbs] == [
        ("write", 4, (("poem", 3), ("letter", 1))),
        ("sort", 2, (("cards", 2),)),
    ]
    assert meters.openings[0] == ("write a", 4)


TEXTS = Diversity(avoid="Avoid:\n{items}", rare="Welcome: {items}")


def metered(*texts: str) -> DiversityMeter:
    meter = DiversityMeter()
    meter.add_all(texts)
    return meter


def test_prompts_lead_away_from_what_is_used_too_much_and_towards_what_is_rare() -> None:
    meter = metered(*["Write a poem about it."] * 20, "Translate an idiom.", "Rank some planets.")
    said = steering(TEXTS, meter, random.Random(0))
    assert '- "write"' in said
    assert '- "poem"' in said
    assert "translate" in said.split("Welcome:")[1]
    assert "translate" not in said.split("Welcome:")[0]


def test_openings_of_a_language_without_spaces_count_too() -> None:
    meter = metered(*[f"解释{char}的意思" for char in "天地玄黄宇宙洪荒日月盈昃辰宿列张"])
    assert '- "解释"' in steering(TEXTS, meter, random.Random(0))


def test_little_is_no_reason_to_steer() -> None:
    assert steering(TEXTS, metered(*["Write a poem."] * 5), random.Random(0)) == ""


def test_steering_can_be_switched_off_and_needs_words() -> None:
    meter = metered(*["Write a poem."] * 30)
    assert steering(Diversity(False, "Avoid: {items}"), meter, random.Random(0)) == ""
    assert steering(Diversity(True), meter, random.Random(0)) == ""


def test_what_is_shown_is_bounded() -> None:
    often = zip(
        ("Write", "Sort", "Explain", "Compare", "Draw"), ("poem", "list", "rule", "city", "map"), strict=True
    )
    seldom = [f"Rank some {letter}oats." for letter in string.ascii_lowercase]
    meter = metered(*[f"{verb} a {noun}." for verb, noun in often] * 100, *seldom)
    said = steering(TEXTS, meter, random.Random(1))
    assert said.count("\n- ") == 8
    assert len(said.split("Welcome: ")[1].split(", ")) == 8
