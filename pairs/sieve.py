"""The sieve between a model's list and the dataset: rules, exact duplicates, near-duplicates; each loss has a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .normalise import pair_key
from .recipes import Recipe
from .similarity import SimilarityIndex
from .store.candidates import NewCandidate
from .tokens import word_tokens

EXACT = "exact duplicate"
NEAR = "near duplicate"


@dataclass(frozen=True, slots=True)
class Draft:
    """An instruction as a model wrote it, not yet looked at."""

    instruction: str
    input: str = ""


class Sieve:
    """Knows every instruction that a new one must not resemble. Not thread-safe: one caller at a time."""

    def __init__(self, recipe: Recipe) -> None:
        self._rules = recipe.rules
        self._index = SimilarityIndex(threshold=recipe.similarity.threshold, parity=recipe.similarity.parity)
        self._keys: set[bytes] = set()
        self._texts: dict[str, str] = {}

    def know(self, known: Iterable[tuple[str, bytes, str]]) -> None:
        """Take in stored instructions: (key such as `p12`, instruction_key, text)."""
        for key, instruction_key, text in known:
            self._keys.add(instruction_key)
            self._index.add(key, text)

    def sift(self, drafts: Sequence[Draft]) -> list[NewCandidate]:
        """Each draft, waiting or lost with a reason, in order. Survivors count at once for those behind them."""
        return [self._one(draft) for draft in drafts]

    def readmit(self, instruction: str, input_text: str = "") -> None:
        """Take in a candidate that passed before this process began and still waits for its response."""
        instruction_key = pair_key(instruction, input_text)
        key = instruction_key.hex()
        self._keys.add(instruction_key)
        self._index.add(key, instruction)
        self._texts[key] = instruction

    def forget(self, instruction: str, input_text: str = "") -> None:
        """A candidate that never became a pair no longer stands in anyone's way."""
        instruction_key = pair_key(instruction, input_text)
        key = instruction_key.hex()
        if self._texts.pop(key, None) is not None:
            self._index.remove(key)
            self._keys.discard(instruction_key)

    def _one(self, draft: Draft) -> NewCandidate:
        text, input_text = draft.instruction.strip(), draft.input.strip()
        if (broken := self.broken_rule(text)) is not None:
            return NewCandidate(text, input_text, f"filtered: {broken[0]}", broken[1])
        instruction_key = pair_key(text, input_text)
        if instruction_key in self._keys:
            return NewCandidate(text, input_text, EXACT)
        near = self._index.check(text)
        if near is not None:
            like = self._texts.get(str(near.key)) or _described(str(near.key))
            return NewCandidate(text, input_text, NEAR, f"{near.score:.2f} like {like}")
        self.readmit(text, input_text)
        return NewCandidate(text, input_text)

    def broken_rule(self, instruction: str) -> tuple[str, str] | None:
        """Name and detail of the first rule that an instruction breaks."""
        rules = self._rules
        if len(instruction) > rules.max_characters:
            return "too long", f"{len(instruction)} characters"
        words = len(word_tokens(instruction))
        if words < rules.min_words:
            return "too short", f"{words} words"
        if words > rules.max_words:
            return "too long", f"{words} words"
        return None


def _described(key: str) -> str:
    kind = {"p": "pair", "s": "seed task", "c": "candidate"}.get(key[:1])
    return f"{kind} {key[1:]}" if kind else key
