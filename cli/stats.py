"""What a workspace holds: pairs by verdict, origin and topic, judges, runs, and what was spent."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.ledger import Ledger, read_ledger
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.meta import all_meta
from pairsmith.pairs.store.runs import Run, list_runs, run_topics
from pairsmith.pairs.store.stats import Stats, read_stats

from .arguments import add_workspace
from .ledger_text import ledger_lines
from .opening import opened
from .output import amount, counted, say, table

EXAMPLE = """
pairsmith stats git.pairsmith
pairsmith stats git.pairsmith --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)


def run(arguments: Namespace) -> int:
    """Print it. Reads only."""

    def read(conn: sqlite3.Connection) -> tuple[dict[str, str], Stats, Run | None, Ledger | None, list[str]]:
        last = next(iter(list_runs(conn, "generate")), None)
        ledger = None if last is None else read_ledger(conn, last.id)
        lines = [] if last is None or ledger is None else ledger_lines(ledger, run_topics(conn, last.id))
        return all_meta(conn), read_stats(conn), last, ledger, lines

    with opened(arguments, readonly=True) as workspace:
        meta, stats, last, ledger, ledger_text = workspace.read(read)
    data: dict[str, Any] = {
        "workspace": str(arguments.workspace),
        **{key: meta.get(key) for key in ("id", "domain", "language", "generator", "judge")},
        "local_only": meta.get("local_only") == "1",
        **asdict(stats),
        "last_run": None
        if last is None or ledger is None
        else {"run": last.id, "state": last.state, "reason": last.reason, **ledger.as_json()},
    }
    say(arguments, lambda: _lines(meta, stats) + _run_lines(last, ledger_text), data)
    return 0


def _lines(meta: dict[str, str], stats: Stats) -> list[str]:
    lines = [
        one_line(meta.get("domain", "")) + (" (local-only)" if meta.get("local_only") == "1" else ""),
        f"generator {one_line(meta.get('generator') or 'not set')}, judge {one_line(meta.get('judge') or 'not set')}",
        f"{counted(stats.pairs, 'pair')}: {_parts(stats.verdicts)}",
    ]
    if stats.pairs:
        lines.append(
            f"  from: {_parts(stats.origins)}" + (f"; {stats.edited:,} edited" if stats.edited else "")
        )
        lines.append(f"  decided by: {_parts(stats.decided_by)}")
    rows = [
        (f"  {one_line(topic.name, 80) or 'no topic'}", f"{topic.pairs:,}", f"{topic.accepted:,} accepted",
         f"{topic.rejected:,} rejected")
        for topic in stats.topics
    ]  # fmt: skip
    lines += table(rows, right=(1, 2, 3))
    lines += [
        f"judged by {one_line(judge.judge)}: {judge.scored:,} scored, {judge.failed:,} failed,"
        f" {judge.not_scored:,} not scored"
        for judge in stats.judges
    ]
    if stats.calls:
        lines.append(
            f"spent: {counted(stats.calls, 'call')}, tokens {amount(stats.tokens_in)} in and"
            f" {amount(stats.tokens_out)} out, ${stats.cost_micros / 1e6:.2f}"
        )
    return lines


def _parts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"


def _run_lines(last: Run | None, ledger_text: list[str]) -> list[str]:
    if last is None:
        return []
    why = f", {one_line(last.reason)}" if last.reason else ""
    return ["", f"last generate run, {last.id}: {last.state}{why}", *ledger_text]
