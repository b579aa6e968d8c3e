"""ROUGE-L as Google's `rouge_score` computes it, and an index that never changes a decision."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from pairsmith.pairs.rouge import f_measure, lcs_length, rouge_l
from pairsmith.pairs.similarity import LONGEST, SimilarityIndex, mean_nearest
from pairsmith.pairs.tokens import distinct_n, rouge_tokens, word_tokens

GOOGLE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)

few_words = st.lists(st.sampled_from("abcdefg"), max_size=14).map(" ".join)
any_text = st.one_of(few_words, st.text(max_size=40), st.text(alphabet="aB1 .é日\u0301K", max_size=20))


def google(a: str, b: str) -> float:
    score: float = GOOGLE.score(a, b)["rougeL"].fmeasure
    return score


def greedy(texts: list[str], score: Callable[[str, str], float], threshold: float) -> list[bool]:
    pool: list[str] = []
    kept = []
    for text in texts:
        kept.append(all(score(text, other) <= threshold for other in pool))
        if kept[-1]:
            pool.append(text)
    return kept


def by_index(texts: list[str], threshold: float, parity: bool = True) -> list[bool]:
    index = SimilarityIndex(threshold, parity)
    return [index.admit(key, text) is None for key, text in enumerate(texts)]


def mutated(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(60)]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 25))) for _ in range(count // 10)]
    while len(texts) < count:
        parts = rng.choice(texts).split()
        for _ in range(rng.randint(1, 1 + len(parts) // 2)):
            parts[rng.randrange(len(parts))] = rng.choice(words)
        if rng.random() < 0.3:
            parts.insert(0, rng.choice(words))
        texts.append(" ".join(parts))
    return texts


@given(any_text, any_text)
def test_score_equals_rouge_score_to_the_last_bit(a: str, b: str) -> None:
    assert rouge_l(rouge_tokens(a), rouge_tokens(b)) == google(a, b)


@given(any_text)
def test_rouge_tokens_equal_the_reference_tokeniser(text: str) -> None:
    assert rouge_tokens(text) == GOOGLE._tokenizer.tokenize(text)


def test_lcs_equals_the_textbook_table() -> None:
    rng = random.Random(3)
    for _ in range(300):
        a = rng.choices(range(5), k=rng.randint(0, 90))
        b = rng.choices(range(5), k=rng.randint(0, 90))
        row = [0] * (len(b) + 1)
        for x in a:
            above = row[:]
            for j, y in enumerate(b):
                row[j + 1] = above[j] + 1 if x == y else max(above[j + 1], row[j])
        assert lcs_length(a, b) == row[-1]


def test_float_ties_at_the_threshold_fall_as_in_the_reference() -> None:
    ties = [
        (k, m, n)
        for n in range(1, 41)
        for m in range(1, n + 1)
        for k in range(1, m + 1)
        if 20 * k == 7 * (m + n)
    ]
    assert {f_measure(*tie) > 0.7 for tie in ties} == {True, False}
    for common, m, n in ties:
        a = " ".join([f"s{i}" for i in range(common)] + [f"a{i}" for i in range(m - common)])
        b = " ".join([f"s{i}" for i in range(common)] + [f"b{i}" for i in range(n - common)])
        index = SimilarityIndex(0.7, parity=True)
        index.add("a", a)
        assert (index.check(b) is not None) == (google(a, b) > 0.7), (common, m, n)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 0.85, 1.0])
def test_parity_decisions_equal_rouge_score_compared_with_all(threshold: float) -> None:
    texts = mutated(120, 5)
    assert by_index(texts, threshold) == greedy(texts, google, threshold)


def test_parity_decisions_equal_comparing_all_on_thousands() -> None:
    texts = mutated(2000, 11)
    cut = {text: rouge_tokens(text) for text in texts}
    assert by_index(texts, 0.7) == greedy(texts, lambda a, b: rouge_l(cut[a], cut[b]), 0.7)


@settings(max_examples=200)
@given(st.lists(any_text, max_size=12), st.sampled_from([0.2, 0.5, 0.7, 0.9]))
def test_parity_decisions_equal_rouge_score_for_any_texts(texts: list[str], threshold: float) -> None:
    assert by_index(texts, threshold) == greedy(texts, google, threshold)


@given(
    st.lists(few_words, min_size=1, max_size=12),
    few_words,
    st.sampled_from([0.05, 0.3, 0.5, 0.7, 2 / 3, 1.0]),
)
def test_nearest_returns_exactly_the_texts_at_or_above_the_bound(
    pool: list[str], text: str, bound: float
) -> None:
    index = SimilarityIndex()
    for key, other in enumerate(pool):
        index.add(key, other)
    expected = [(key, rouge_l(word_tokens(text), word_tokens(other))) for key, other in enumerate(pool)]
    expected = sorted((one for one in expected if one[1] >= bound), key=lambda one: -one[1])
    assert [(near.key, near.score) for near in index.nearest(text, bound)] == expected


@given(st.lists(few_words, min_size=1, max_size=12), few_words)
def test_best_is_the_maximum_over_the_pool(pool: list[str], text: str) -> None:
    index = SimilarityIndex()
    for key, other in enumerate(pool):
        index.add(key, other)
    best = index.best(text)
    assert best is not None
    assert best.score == max(rouge_l(word_tokens(text), word_tokens(other)) for other in pool)


def test_at_threshold_one_nothing_is_refused_and_at_zero_one_shared_word_is_enough() -> None:
    lenient, strict = SimilarityIndex(1.0), SimilarityIndex(0.0)
    for index in (lenient, strict):
        index.add(1, "sort a list")
    assert lenient.check("sort a list") is None
    assert strict.check("a cat") is not None
    assert strict.check("no cat") is None


def test_a_removed_text_refuses_nothing_and_its_key_may_come_back() -> None:
    index = SimilarityIndex()
    index.add("x", "explain how to undo a commit")
    index.remove("x")
    index.remove("x")
    assert len(index) == 0
    assert index.check("explain how to undo a commit") is None
    index.add("x", "explain how to undo a commit")
    assert index.check("explain how to undo a commit") is not None


def test_adding_a_key_again_replaces_its_text() -> None:
    index = SimilarityIndex()
    index.add("x", "explain how to undo a commit")
    index.add("x", "write a haiku on autumn")
    assert len(index) == 1
    assert index.check("explain how to undo a commit") is None
    assert index.check("write a haiku on autumn") is not None


def test_decisions_stay_exact_through_thousands_of_removals() -> None:
    texts = mutated(4000, 21)
    index = SimilarityIndex(parity=True)
    for key, text in enumerate(texts):
        index.add(key, text)
    for key in range(4000):
        if key % 8:
            index.remove(key)
    left = [(key, rouge_tokens(texts[key])) for key in range(0, 4000, 8)]
    for text in mutated(4000, 22)[-60:] + texts[:60]:
        found = {near.key for near in index.nearest(text, 0.6)}
        assert found == {key for key, other in left if rouge_l(rouge_tokens(text), other) >= 0.6}


def test_the_refusing_neighbour_is_named_with_its_score() -> None:
    index = SimilarityIndex()
    index.add("far", "explain how to undo a merge in git today")
    index.add("near", "explain how to undo a commit in git")
    near = index.check("explain how to undo a commit in git")
    assert near is not None
    assert (near.key, near.score, near.alike) == ("near", 1.0, True)


def test_neighbours_leave_out_the_pair_itself_and_stop_at_the_limit() -> None:
    index = SimilarityIndex()
    for key in range(5):
        index.add(key, f"explain how to undo commit {key} in git")
    near = index.nearest("explain how to undo commit 2 in git", 0.5, exclude=2, limit=3)
    assert [one.key for one in near] == [0, 1, 3]


def test_of_alike_arrivals_from_many_threads_one_gets_in() -> None:
    index = SimilarityIndex()
    admitted: list[int] = []
    start = threading.Barrier(8)

    def arrive(worker: int) -> None:
        start.wait()
        for i in range(100):
            if index.admit((worker, i), f"explain topic number {i} with one example") is None:
                admitted.append(i)

    workers = [threading.Thread(target=arrive, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    index_of_one = SimilarityIndex()
    serial = [
        i for i in range(100) if index_of_one.admit(i, f"explain topic number {i} with one example") is None
    ]
    assert len(admitted) == len(set(admitted)) == len(index) == len(serial)


def test_texts_of_many_thousand_tokens_are_compared_by_their_beginning() -> None:
    index = SimilarityIndex()
    long = " ".join(f"w{i}" for i in range(LONGEST))
    index.add(1, long + " one" * 200_000)
    assert index.check(long + " two" * 200_000) is not None
    assert SimilarityIndex(parity=True).check(long) is None


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_zero_to_one_is_wrong(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        SimilarityIndex(threshold)


def test_a_bound_of_zero_for_neighbours_is_wrong() -> None:
    with pytest.raises(ValueError, match="above 0"):
        SimilarityIndex().nearest("x", 0)


@given(st.lists(few_words, max_size=8))
def test_mean_nearest_is_the_mean_of_each_texts_best_neighbour(texts: list[str]) -> None:
    tokens = [word_tokens(text) for text in texts]
    best = (
        [max(rouge_l(a, b) for j, b in enumerate(tokens) if j != i) for i, a in enumerate(tokens)]
        if texts[1:]
        else []
    )
    assert mean_nearest(texts) == pytest.approx(sum(best) / len(best) if best else 0.0)


def test_distinct_n_counts_different_word_pairs() -> None:
    assert distinct_n(["a b a b", "a b"], 2) == 2 / 4
    assert distinct_n(["a b a b"], 1) == 2 / 4
    assert distinct_n([], 2) == distinct_n(["a"], 2) == 0.0
