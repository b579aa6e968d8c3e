"""What the embedded model is made of: its shape, the settings of its training, and the shares of the corpus."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pairsmith.pairs.rubrics import load_rubric
from pairsmith.training.shapes import Shape
from pairsmith.training.vocabulary import Vocabulary

from .lessons import Document
from .steps import Draw, Share


@dataclass(frozen=True, slots=True)
class Making:
    """Everything but the seed that decides what the model becomes."""

    layers: int = 6
    width: int = 256
    heads: int = 4
    context: int = 2048
    tokens: int = 2048
    learning_rate: float = 2e-3
    warmup: int = 100
    clip: float = 1.0
    precision: str = "bf16"
    hands: int = 2
    """Threads, each on slices of its own."""
    vocabulary_documents: int = 12_000
    validate_every: int = 500
    validation_tokens: int = 6_000
    """Tokens of each kind in the validation documents."""

    def shape(self, words: Vocabulary) -> Shape:
        """The shape with this vocabulary."""
        return Shape(self.layers, self.width, self.heads, self.context, len(words))


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is learnt: how to draw documents of training and held-out ones, and what share each kind has."""

    draw: Draw
    draw_held_out: Draw
    shares: Mapping[str, Share]


FULL = Making()
MINIATURE = Making(
    layers=2,
    width=64,
    heads=2,
    context=1024,
    tokens=600,
    learning_rate=5e-3,
    warmup=10,
    precision="fp32",
    vocabulary_documents=300,
    validate_every=50,
    validation_tokens=1500,
)


SHARES: Mapping[str, Share] = {
    "response": Share(3600, 0.42),
    "instructions": Share(3600, 0.36),
    "topics": Share(350, 0.03),
    "judge": Share(1100, 0.12),
    "judge json": Share(250, 0.03),
    "other": Share(200, 0.04),
}
"""A step of a second or so. Lists have the most tokens, since what people ask has more forms than what is answered."""
_ASKED = 1
"""Attributes that are asked about one response in training; what makes it good or bad is the same for all five."""


def shipped() -> Corpus:
    """The corpus of the embedded model."""
    return Corpus(drawn, drawn_held_out, SHARES)


def drawn(rng: random.Random, kind: str) -> Sequence[Document]:
    """A group of documents of training."""
    from . import documents

    return _fewer(rng, kind, documents.drawn(rng, kind))


def drawn_held_out(rng: random.Random, kind: str) -> Sequence[Document]:
    """A group of documents with held-out phrasings, names and flaws."""
    from . import documents

    return _fewer(rng, kind, documents.drawn_held_out(rng, kind))


def _fewer(rng: random.Random, kind: str, group: Sequence[Document]) -> Sequence[Document]:
    """Of the questions about one response, which lie side by side, only some."""
    if kind != "judge":
        return group
    each = len(load_rubric().attributes)
    return [
        group[start + place]
        for start in range(0, len(group), each)
        for place in sorted(rng.sample(range(each), _ASKED))
    ]
