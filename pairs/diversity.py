"""How diverse the instructions of a dataset are, while they come: meters for whoever watches, words to steer away from.

Everything is incremental and of bounded size: distinct-n over the newest instructions, ROUGE-L to the nearest
neighbour over a sample of them, and counts of verbs, objects and openings over all.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .tokens import has_unspaced, word_tokens
from .verb_nouns import verb_and_noun

WINDOW = 1000
"""Newest instructions over which distinct-n is taken: it depends on the size, so windows of one size compare."""
SAMPLE = 200
"""Newest instructions whose nearest neighbour is known."""
_MOST_NAMES = 20_000
"""Different verb-noun pairs or openings that are counted apart; rarer ones behind them go."""
_STEER_FROM = 12
"""Instructions from which steering begins: before, everything is over-used."""
_OVERUSED = 0.08
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class VerbNouns:
    """A root verb, how often it comes, and its most frequent direct objects with theirs."""

    verb: str
    count: int
    nouns: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Meters:
    """What the diversity of the instructions is now. Shares are 0..1."""

    instructions: int = 0
    distinct_1: float | None = None
    distinct_2: float | None = None
    """Different word pairs over all word pairs of the newest `WINDOW` instructions; None before the first."""
    nearest: float | None = None
    """Mean ROUGE-L F to the nearest other instruction over the newest `SAMPLE` that were looked at."""
    verbs: tuple[VerbNouns, ...] = ()
    """The twenty most frequent root verbs, as in the paper's figure."""
    openings: tuple[tuple[str, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "instructions": self.instructions,
            "distinct_1": self.distinct_1,
            "distinct_2": self.distinct_2,
            "nearest": self.nearest,
            "verbs": [{"verb": v.verb, "count": v.count, "nouns": dict(v.nouns)} for v in self.verbs],
            "openings": dict(self.openings),
        }


class DiversityMeter:
    """Counts instructions as they come. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window: deque[list[str]] = deque()
        self._grams: tuple[Counter[str], Counter[tuple[str, str]]] = Counter(), Counter()
        self._totals = [0, 0]
        self._nearest: deque[float] = deque(maxlen=SAMPLE)
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._verbs: Counter[str] = Counter()
        self._nouns: Counter[str] = Counter()
        self._openings: Counter[str] = Counter()
        self._count = 0

    def add(self, instruction: str) -> None:
        """Count one more instruction."""
        tokens = word_tokens(instruction)
        verb, noun = verb_and_noun(instruction)
        with self._lock:
            self._count += 1
            self._slide(tokens)
            if tokens:
                self._openings[_opening(tokens)] += 1
            if verb:
                self._verbs[verb] += 1
                self._pairs[verb, noun] += 1
            if noun:
                self._nouns[noun] += 1
            for counter in (self._openings, self._verbs, self._nouns):
                _bound(counter)
            _bound(self._pairs)

    def add_all(self, instructions: Iterable[str]) -> None:
        """Count many."""
        for instruction in instructions:
            self.add(instruction)

    def note_nearest(self, score: float) -> None:
        """The ROUGE-L F of one instruction to its nearest neighbour."""
        with self._lock:
            self._nearest.append(score)

    def read(self) -> Meters:
        """The meters as they stand."""
        with self._lock:
            sizes = len(self._grams[0]), len(self._grams[1])
            one, two = (
                size / total if total else None for size, total in zip(sizes, self._totals, strict=True)
            )
            return Meters(
                self._count,
                one,
                two,
                math.fsum(self._nearest) / len(self._nearest) if self._nearest else None,
                self._table(),
                tuple(self._openings.most_common(10)),
            )

    def overused(self) -> list[str]:
        """Openings, verbs and objects that too large a share of the instructions has, the most frequent first."""
        with self._lock:
            if self._count < _STEER_FROM:
                return []
            least = max(3, self._count * _OVERUSED)
            counted = [
                (count, name)
                for counter in (self._openings, self._verbs, self._nouns)
                for name, count in counter.most_common(_SHOWN)
                if count >= least
            ]
        counted.sort(key=lambda one: (-one[0], one[1]))
        return list(dict.fromkeys(name for _, name in counted))[:_SHOWN]

    def rare(self, rng: random.Random) -> list[str]:
        """Some verbs and objects that came once or hardly more often: directions that are open."""
        with self._lock:
            if self._count < _STEER_FROM:
                return []
            most = max(1, self._count // 200)
            found = [name for name, count in self._verbs.items() if count <= most]
            found += [name for name, count in self._nouns.items() if count <= most]
        return rng.sample(found, min(_SHOWN, len(found)))

    def _slide(self, tokens: list[str]) -> None:
        self._window.append(tokens)
        self._tally(tokens, 1)
        if len(self._window) > WINDOW:
            self._tally(self._window.popleft(), -1)

    def _tally(self, tokens: list[str], sign: int) -> None:
        singles, doubles = self._grams
        pairs = list(itertools.pairwise(tokens))
        self._totals[0] += sign * len(tokens)
        self._totals[1] += sign * len(pairs)
        for token in tokens:
            singles[token] += sign
            if not singles[token]:
                del singles[token]
        for pair in pairs:
            doubles[pair] += sign
            if not doubles[pair]:
                del doubles[pair]

    def _table(self) -> tuple[VerbNouns, ...]:
        nouns: dict[str, list[tuple[str, int]]] = {}
        for (verb, noun), count in self._pairs.most_common():
            if noun and len(nouns.setdefault(verb, [])) < 4:
                nouns[verb].append((noun, count))
        return tuple(
            VerbNouns(verb, count, tuple(nouns.get(verb, ()))) for verb, count in self._verbs.most_common(20)
        )


def measure(
    instructions: Sequence[str], nearest: Callable[[Sequence[str]], float] | None = None, *, seed: int = 0
) -> Meters:
    """The meters of instructions that are all there. `nearest` gives the mean ROUGE-L to the nearest neighbour of a
    sample of at most `SAMPLE` of them (similarity.mean_nearest); left out where it is not given."""
    meter = DiversityMeter()
    meter.add_all(instructions)
    if nearest is not None and len(instructions) > 1:
        sample = random.Random(seed).sample(list(instructions), min(SAMPLE, len(instructions)))
        meter.note_nearest(nearest(sample))
    return meter.read()


def _opening(tokens: Sequence[str]) -> str:
    """The first two words; in scripts without spaces the first two characters."""
    return ("" if has_unspaced(tokens[0]) else " ").join(tokens[:2])


def _bound(counter: Counter[str] | Counter[tuple[str, str]]) -> None:
    if len(counter) > 2 * _MOST_NAMES:
        kept = counter.most_common(_MOST_NAMES)
        counter.clear()
        counter.update(dict(kept))  # type: ignore[arg-type]
