"""What the engine works on: a completion or a scoring, from its arrival to its last event."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BackendError
from .prompts import Prompt, split_thinking, visible_so_far
from .sampling import Sampler, Sampling
from .wire import describe

Emit = Callable[[dict[str, Any]], None]
NOWHERE = -1


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """State that both kinds share. `tokens` are those to be computed; `computed` of them are in the cache."""

    id: int
    order: int
    emit: Emit
    tokens: list[int]
    alone: bool = False
    seq: int = NOWHERE
    computed: int = 0
    cached: int = 0
    cancelled: bool = False
    started: float = field(default_factory=time.monotonic)
    admitted: float = 0.0
    admission: int = 0
    """How many were admitted up to and with this one."""
    keep_at: int = 0
    """Length of a beginning that an earlier request had too: to be kept once it is computed; 0 for none."""
    neighbours: int = 0
    lane: int = 0
    """Which lane ran it."""
    preempted: int = 0

    def fail(self, error: BackendError) -> None:
        """Tell the caller, and let go of what the job holds outside the cache."""
        self.emit({"id": self.id, "error": describe(error)})
        self.release()

    def release(self) -> None:
        """Give back C objects; overridden where there are any."""

    def place(self) -> dict[str, Any]:
        """When the job came, when it was let in, where it ran, and beside how many."""
        return {
            "arrival": self.order,
            "admission": self.admission,
            "neighbours": self.neighbours,
            "lane": self.lane,
            "queued_s": round(self.admitted - self.started, 4),
        }

    @property
    def missing(self) -> int:
        """Tokens still to be computed before the next output."""
        return len(self.tokens) - self.computed


@dataclass(slots=True, kw_only=True, eq=False)
class Completion(Job):
    """One text being generated."""

    prompt: Prompt
    limit: int
    """Most tokens to generate, already cut to what the window leaves."""
    sampler: Sampler
    how: Sampling
    stops: tuple[str, ...] = ()
    streaming: bool = False
    top_logprobs: int | None = None
    logprobs: list[tuple[str, float, list[tuple[str, float]]]] = field(default_factory=list)
    text: str = ""
    shown: int = 0
    generated: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    expected: str | None = None
    """Replay: the recorded text. The job ends at the first token that departs from it."""

    def release(self) -> None:
        self.sampler.close()

    def add(self, piece: bytes) -> bool:
        """Take in a token's bytes; true where a stop string is complete (it and the rest are cut off)."""
        new = self.decoder.decode(piece)
        self.text += new
        if new and self.stops:
            reach = max(len(stop) for stop in self.stops) + len(new) - 1
            start = max(0, len(self.text) - reach)
            found = [at for stop in self.stops if (at := self.text.find(stop, start)) >= 0]
            if found:
                self.text = self.text[: min(found)]
                return True
        return False

    def preview(self, piece: bytes, final: bool) -> str:
        """What `add` would append, nothing changed."""
        state = self.decoder.getstate()
        new = self.decoder.decode(piece, final)
        self.decoder.setstate(state)
        return new

    def flush(self) -> None:
        """The model ended its turn: bytes of a character that never came whole become U+FFFD."""
        self.text += self.decoder.decode(b"", True)

    def show(self, final: bool) -> None:
        """Stream what is certain to stay: not the beginning of a stop string, not thinking."""
        if not self.streaming:
            return
        safe = self.text if final else self.text[: len(self.text) - held_back(self.text, self.stops)]
        visible = (
            split_thinking(safe, self.prompt.opened)[0] if final else visible_so_far(safe, self.prompt.opened)
        )
        if len(visible) > self.shown:
            self.emit({"id": self.id, "chunk": visible[self.shown :]})
            self.shown = len(visible)

    def finish(self, reason: str, more: Mapping[str, Any]) -> None:
        """Tell the caller the whole result."""
        self.show(True)
        answer, reasoning = split_thinking(self.text, self.prompt.opened)
        done: dict[str, Any] = {
            "text": answer,
            "reasoning": reasoning,
            "raw": self.text if reasoning is not None else None,
            "finish": reason,
            "prompt_tokens": len(self.prompt.tokens),
            "completion_tokens": self.generated,
            "cached_tokens": self.cached,
            "logprobs": self.logprobs if self.top_logprobs is not None else None,
            "seed": None if self.how.greedy else self.how.seed,
            **self.place(),
            "preempted": self.preempted,
            **more,
        }
        self.emit({"id": self.id, "done": done})
        self.release()


@dataclass(slots=True, kw_only=True, eq=False)
class Scoring(Job):
    """Probabilities of a few next tokens after each branch of one common beginning (`tokens`)."""

    branches: list[list[int]]
    spellings: list[list[int]]
    """For each choice, the ids of all tokens that spell it."""
    prompt_tokens: int = 0
    rows: dict[int, list[float]] = field(default_factory=dict)
    open_seqs: list[int] = field(default_factory=list)
    """Sequences of the branches in the decode that is under way."""

    def finish(self) -> None:
        probabilities = [self.rows[n] for n in range(len(self.branches))]
        done = {
            "probabilities": probabilities,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached,
            **self.place(),
        }
        self.emit({"id": self.id, "done": done})


def held_back(text: str, stops: tuple[str, ...]) -> int:
    """Characters at the end of `text` that may turn out to begin a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:size]):
                longest = size
                break
    return longest
