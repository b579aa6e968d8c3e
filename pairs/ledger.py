"""The ledger of a generate run: where every candidate and every call went. It is counted from the stored rows,
so it holds at every instant and after every kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .store.driver import sqlite3

SURPLUS = "surplus"
"""The loss of what a finished run did not need."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that ended: made = useful + failed by reason. `in_flight` ones are not booked yet."""

    made: int = 0
    useful: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_micros: int = 0

    @property
    def cost(self) -> float:
        """US dollars."""
        return self.cost_micros / 1e6


@dataclass(frozen=True, slots=True)
class Ledger:
    """candidates = kept + losses + in_progress; asked = kept + missing; calls.made = useful + failed."""

    asked: int
    kept: int
    candidates: int
    in_progress: int
    losses: Mapping[str, int]
    calls: Calls
    refined_kept: int = 0
    """Part of `kept`: rewritten by the model because they broke a rule, and kept then."""
    refined_refused: int = 0
    """Part of `losses`: rewritten, or to be rewritten, and lost all the same."""

    @property
    def share_kept(self) -> float | None:
        """Kept of all candidates that are decided, those left over aside; None before the first."""
        decided = self.kept + sum(count for loss, count in self.losses.items() if loss != SURPLUS)
        return self.kept / decided if decided else None

    @property
    def missing(self) -> int:
        return self.asked - self.kept

    def balance(self) -> list[str]:
        """The sums that do not hold; empty where all is well."""
        wrong = []
        if self.candidates != self.kept + sum(self.losses.values()) + self.in_progress:
            wrong.append("candidates are not kept + losses + in progress")
        if self.refined_kept > self.kept or self.refined_refused > sum(self.losses.values()):
            wrong.append("more refined than there are")
        if self.kept > self.asked:
            wrong.append("more kept than asked")
        if self.calls.made != self.calls.useful + sum(self.calls.failed.values()):
            wrong.append("calls made are not useful + failed")
        return wrong

    def as_json(self) -> dict[str, Any]:
        """The names that `--json` promises, and the spending."""
        return {
            "asked": self.asked,
            "kept": self.kept,
            "missing": self.missing,
            "candidates": self.candidates,
            "in_progress": self.in_progress,
            "losses": dict(self.losses),
            "refined": {"kept": self.refined_kept, "refused": self.refined_refused},
            "calls": {
                "made": self.calls.made,
                "useful": self.calls.useful,
                "failed": dict(self.calls.failed),
            },
            "tokens": {"in": self.calls.tokens_in, "out": self.calls.tokens_out},
            "cost": self.calls.cost,
        }


def read_calls(conn: sqlite3.Connection, run_id: int) -> Calls:
    """A run's calls, added up."""
    made = useful = flying = tokens_in = tokens_out = cost = 0
    failed: dict[str, int] = {}
    for state, reason, count, t_in, t_out, micros in conn.execute(
        "SELECT state, reason, count(*), sum(tokens_in), sum(tokens_out), sum(cost_micros) FROM call"
        " WHERE run_id = ? GROUP BY state, reason ORDER BY count(*) DESC, reason",
        (run_id,),
    ):
        tokens_in, tokens_out, cost = tokens_in + t_in, tokens_out + t_out, cost + micros
        if state == "in flight":
            flying += count
            continue
        made += count
        if state == "useful":
            useful += count
        else:
            failed[reason] = count
    return Calls(made, useful, failed, flying, tokens_in, tokens_out, cost)


def read_ledger(conn: sqlite3.Connection, run_id: int) -> Ledger:
    """The ledger of a generate run. Raises KeyError where there is no such run."""
    row = conn.execute("SELECT asked FROM run WHERE id = ? AND kind = 'generate'", (run_id,)).fetchone()
    if row is None:
        raise KeyError(run_id)
    kept = in_progress = candidates = refined_kept = refined_refused = 0
    losses: dict[str, int] = {}
    for state, loss, count, refined in conn.execute(
        "SELECT state, loss, count(*), sum(attempts > 0) FROM candidate WHERE run_id = ? GROUP BY state, loss"
        " ORDER BY count(*) DESC, loss",
        (run_id,),
    ):
        candidates += count
        if state == "kept":
            kept += count
            refined_kept += refined
        elif state == "lost":
            losses[loss] = count
            refined_refused += refined if loss != SURPLUS else 0
        else:
            in_progress += count
    return Ledger(
        int(row[0]),
        kept,
        candidates,
        in_progress,
        losses,
        read_calls(conn, run_id),
        refined_kept,
        refined_refused,
    )
