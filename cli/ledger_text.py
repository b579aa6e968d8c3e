"""The ledger as a person reads it: where every candidate and every call went."""

from __future__ import annotations

from collections.abc import Sequence

from pairsmith.backends.text import one_line
from pairsmith.pairs.ledger import Ledger
from pairsmith.pairs.store.runs import RunTopic

from .output import amount, table


def ledger_lines(ledger: Ledger, topics: Sequence[RunTopic]) -> list[str]:
    """Topics, losses by name, and the three sums."""
    lines = table([_topic_row(topic) for topic in topics], right=(1,))
    calls = ledger.calls
    if ledger.losses:
        rows = [(f"  {one_line(name)}", f"{count:,}") for name, count in ledger.losses.items()]
        rows += [("  in progress", f"{ledger.in_progress:,}")] if ledger.in_progress else []
        lines += ["where the rest went", *table(rows, right=(1,))]
    parts = [ledger.kept, *ledger.losses.values(), *([ledger.in_progress] if ledger.in_progress else [])]
    lines += [
        f"asked {ledger.asked:,} = {ledger.kept:,} kept + {ledger.missing:,} missing",
        f"candidates {ledger.candidates:,} = {' + '.join(f'{part:,}' for part in parts)}",
        f"calls {calls.made:,} = {calls.useful:,} useful + {sum(calls.failed.values()):,} failed"
        + _reasons(ledger),
        f"tokens {amount(calls.tokens_in)} in, {amount(calls.tokens_out)} out, ${calls.cost:.2f}",
    ]
    return lines


def _topic_row(topic: RunTopic) -> tuple[str, str, str]:
    moved = topic.quota - topic.planned
    change = f"{abs(moved):,} {'taken over' if moved > 0 else 'moved elsewhere'}" if moved else ""
    dry = "ran dry" if topic.exhausted else ""
    return (
        one_line(topic.path, 60),
        f"{topic.kept:,} of {topic.quota:,}",
        ", ".join(filter(None, (dry, change))),
    )


def _reasons(ledger: Ledger) -> str:
    if not ledger.calls.failed:
        return ""
    return f" ({', '.join(f'{one_line(name)} {count:,}' for name, count in ledger.calls.failed.items())})"
