"""The sieve between a model's list and the dataset: rules, exact duplicates, near-duplicates; each loss has a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .instruction_rules import FILTERED, broken_rule
from .normalise import pair_key
from .recipes import Recipe
from .similarity import SimilarityIndex
from .store.candidates import NewCandidate

EXACT = "exact duplicate"
NEAR = "near duplicate"


@dataclass(frozen=True, slots=True)
class Draft:
    """An instruction as a model wrote it, not yet looked at."""

    instruction: str
    input: str = ""


class Sieve:
    """Knows every instruction that a new one must not resemble. Not thread-safe: one caller at a time.

    `inputs`: instructions get their inputs later (Self-Instruct), so that a missing one breaks no rule yet.
    """

    def __init__(self, recipe: Recipe, method: str = "topic-tree", *, inputs: bool = False) -> None:
        self._rules = recipe.rules_of(method)
        self._inputs = inputs
        self._index = SimilarityIndex(threshold=recipe.similarity.threshold, parity=recipe.similarity.parity)
        self._keys: set[bytes] = set()
        self._bare: set[bytes] = set()
        self._texts: dict[str, str] = {}

    def know(self, known: Iterable[tuple[str, bytes, str]]) -> None:
        """Take in stored instructions: (key such as `p12`, instruction_key, text)."""
        for key, instruction_key, text in known:
            self._keys.add(instruction_key)
            if (bare := pair_key(text)) != instruction_key:
                self._bare.add(bare)
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
        if (broken := broken_rule(text, self._rules, inputs=self._inputs or bool(input_text))) is not None:
            return NewCandidate(text, input_text, FILTERED + broken[0], broken[1])
        instruction_key = pair_key(text, input_text)
        if instruction_key in self._keys:
            return NewCandidate(text, input_text, EXACT)
        near = self._index.check(text)
        if near is not None:
            like = self._texts.get(str(near.key)) or _described(str(near.key))
            # The same words as a task that has got its input meanwhile.
            loss = EXACT if not input_text and instruction_key in self._bare else NEAR
            return NewCandidate(text, input_text, loss, f"{near.score:.2f} like {like}")
        self.readmit(text, input_text)
        return NewCandidate(text, input_text)

    def nearest(self, instruction: str, input_text: str = "") -> float | None:
        """ROUGE-L F of an admitted instruction to its nearest neighbour; None where there is no other."""
        near = self._index.best(instruction, exclude=pair_key(instruction, input_text).hex())
        return None if near is None else near.score

    def __len__(self) -> int:
        return len(self._index)


def _described(key: str) -> str:
    kind = {"p": "pair", "s": "seed task", "c": "candidate"}.get(key[:1])
    return f"{kind} {key[1:]}" if kind else key
