"""The embedded model's vocabulary: byte-level BPE in which a name breaks into the same pieces wherever it stands.

Copying a name that never occurred in training is the model's hardest task, so the tokens are made for it. GPT-2's words
carry the space before them, and an ordinary BPE therefore spells ` quiet` and `quiet` with different pieces. Here the
merges are learnt on words without their spaces first; tokens that begin with a space are then one more merge, of the
space and a token that is whole already. Digits stay single: a number is copied digit by digit. The result is an
ordinary GPT-2 vocabulary for llama.cpp and transformers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import regex  # type: ignore[import-untyped]  # comes with tiktoken

from pairsmith.training import bpe
from pairsmith.training.vocabulary import WORDS, Vocabulary

_WORDS = regex.compile(WORDS)
_SPACED_SHARE = 0.4
"""Of the learnt tokens, those that are a space and a word."""


def learn(texts: Iterable[str], size: int) -> Vocabulary:
    """A vocabulary of at most `size` tokens (256 bytes and end-of-text among them), deterministic in `texts`.

    Raises ValueError below 257.
    """
    words = Counter(word for text in texts for word in _WORDS.findall(text))
    spaced = int(_SPACED_SHARE * (size - 257))
    inner = bpe.train(_unspaced(words), size - spaced)
    merges = inner.merges + [(b" ", token) for token in _after_spaces(words, inner)[:spaced]]
    tokens = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges] + [b""]
    return Vocabulary("embedded", tokens, merges, len(tokens) - 1)


def _unspaced(words: Counter[str]) -> Iterable[str]:
    """Every word as often as it occurs, without its space, line feeds between; numbers are left out."""
    bare: Counter[str] = Counter()
    for word, count in words.items():
        text = word.strip(" ")
        if text and not text.isspace() and not any(letter.isnumeric() for letter in text):
            bare[text] += count
    for word, count in sorted(bare.items()):
        yield "\n".join([word] * count)


def _after_spaces(words: Counter[str], inner: Vocabulary) -> list[bytes]:
    """The tokens that most often come first after a space, most frequent first; digits never."""
    counts: Counter[bytes] = Counter()
    for word, count in words.items():
        bare = word.removeprefix(" ")
        if word.startswith(" ") and bare.strip() and not bare[0].isnumeric():
            counts[inner.tokens[inner.encode(bare)[0]]] += count
    return [token for token, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
