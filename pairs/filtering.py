"""The filter: reject the undecided pairs for which an expression is false. It accepts none, and leaves alone what is
unknown and what anybody decided."""

from __future__ import annotations

from collections.abc import Callable
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

    Raises UsageError for what is no expression.
    """
    expression = parse_expression(where)
    undecided = workspace.read(lambda conn: _ids(conn, PairFilter(verdict="undecided")))
    accepted = workspace.read(lambda conn: _ids(conn, PairFilter(verdict="accepted", decided_by="human")))
    rejected = workspace.read(lambda conn: _ids(conn, PairFilter(verdict="rejected", decided_by="human")))
    keeps = below = unknown = agrees = keeps_rejected = drops_accepted = 0
    doomed: list[int] = []

    def look(conn: sqlite3.Connection) -> None:
        nonlocal keeps, below, unknown, agrees, keeps_rejected, drops_accepted
        for number, (pair_id, said) in enumerate(evaluate_where(conn, expression, judge=judge)):
            if number % 1000 == 0:
                check()
            if said is None:
                unknown += 1
                continue
            keeps += said
            below += not said
            if not said and pair_id in undecided:
                doomed.append(pair_id)
            agrees += pair_id in (accepted if said else rejected)
            keeps_rejected += said and pair_id in rejected
            drops_accepted += not said and pair_id in accepted

    workspace.read(look)
    changed, entry = (0, None) if preview or not doomed else _reject(workspace, where, judge, doomed)
    return FilterReport(
        pairs=keeps + below + unknown,
        keeps=keeps,
        falls_below=below,
        not_scored=unknown,
        undecided=len(undecided),
        rejects=len(doomed),
        agrees=agrees,
        keeps_rejected=keeps_rejected,
        drops_accepted=drops_accepted,
        changed=changed,
        entry_id=entry,
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
