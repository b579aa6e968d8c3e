"""The filter: reject the undecided pairs for which an expression is false. It accepts none, and leaves alone what is
unknown and what anybody decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass

from .expressions import parse_expression
from .store.driver import sqlite3
from .store.filters import PairFilter
from .store.paging import snapshot_ids
from .store.verdicts import decide
from .store.where import evaluate_where, matching_ids
from .store.workspace import Workspace

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What the line keeps and rejects: pairs = keeps + falls_below + not_scored, whatever was decided about them.

    `rejects` of the `undecided` pairs are (or would be) rejected by the filter itself. The human verdicts it is
    compared with: agrees + keeps_rejected + drops_accepted; those on pairs that are not scored are left out.
    """

    pairs: int
    keeps: int
    falls_below: int
    not_scored: int
    undecided: int
    rejects: int
    agrees: int
    keeps_rejected: int
    drops_accepted: int
    changed: int = 0
    entry_id: int | None = None

    @property
    def decided(self) -> int:
        """Human verdicts that the line can be compared with."""
        return self.agrees + self.keeps_rejected + self.drops_accepted


def filter_pairs(
    workspace: Workspace,
    where: str,
    *,
    judge: str | None,
    preview: bool = False,
    check: Callable[[], None] = lambda: None,
) -> FilterReport:
    """Reject by rule, in one act that can be undone; with `preview` only count (blocking).

    Raises ExpressionError for what is no expression.
    """
    expression = parse_expression(where)
    tally = workspace.read(
        lambda conn: _Tally(
            _ids(conn, PairFilter(verdict="undecided")),
            _ids(conn, PairFilter(verdict="accepted", decided_by="human")),
            _ids(conn, PairFilter(verdict="rejected", decided_by="human")),
        )
    )

    def look(conn: sqlite3.Connection) -> None:
        for number, (pair_id, said) in enumerate(evaluate_where(conn, expression, judge=judge)):
            if number % 1000 == 0:
                check()
            tally.add(pair_id, said)

    workspace.read(look)
    nothing = preview or not tally.doomed
    changed, entry = (0, None) if nothing else _reject(workspace, where, judge, tally.doomed)
    return tally.report(changed, entry)


class _Tally:
    """What the line says of the pairs seen so far, beside what people said."""

    def __init__(self, undecided: Set[int], accepted: Set[int], rejected: Set[int]) -> None:
        self._undecided, self._accepted, self._rejected = undecided, accepted, rejected
        self._counts: Counter[str] = Counter()
        self.doomed: list[int] = []

    def add(self, pair_id: int, said: bool | None) -> None:
        counts = self._counts
        counts["pairs"] += 1
        if said is None:
            counts["not_scored"] += 1
        elif said:
            counts["keeps"] += 1
            counts["agrees"] += pair_id in self._accepted
            counts["keeps_rejected"] += pair_id in self._rejected
        else:
            counts["falls_below"] += 1
            counts["agrees"] += pair_id in self._rejected
            counts["drops_accepted"] += pair_id in self._accepted
            if pair_id in self._undecided:
                self.doomed.append(pair_id)

    def report(self, changed: int, entry_id: int | None) -> FilterReport:
        counts = self._counts
        return FilterReport(
            pairs=counts["pairs"],
            keeps=counts["keeps"],
            falls_below=counts["falls_below"],
            not_scored=counts["not_scored"],
            undecided=len(self._undecided),
            rejects=len(self.doomed),
            agrees=counts["agrees"],
            keeps_rejected=counts["keeps_rejected"],
            drops_accepted=counts["drops_accepted"],
            changed=changed,
            entry_id=entry_id,
        )


def _ids(conn: sqlite3.Connection, chosen: PairFilter) -> frozenset[int]:
    return frozenset(snapshot_ids(conn, chosen))


def _reject(workspace: Workspace, where: str, judge: str | None, doomed: list[int]) -> tuple[int, int | None]:
    expression = parse_expression(where)

    def work(conn: sqlite3.Connection) -> tuple[int, int | None]:
        # Looked at again inside the transaction: a pair may have been edited or judged anew since.
        below: list[int] = []
        for start in range(0, len(doomed), _BATCH):
            chosen = PairFilter(verdict="undecided", ids=tuple(doomed[start : start + _BATCH]))
            below += matching_ids(conn, expression, judge=judge, chosen=chosen, value=False)
        done = decide(conn, below, "rejected", by="rule", rule=f"filter {where}", reason="below the line")
        return done.changed, done.entry_id

    return workspace.write(work)
