"""The ledger as a person reads it: where every candidate and every call went."""

from __future__ import annotations

from collections.abc import Sequence

from pairsmith.backends.text import one_line
from pairsmith.pairs.diversity import Meters
from pairsmith.pairs.events import Progress
from pairsmith.pairs.ledger import Ledger
from pairsmith.pairs.store.runs import RunTopic

from .output import amount, table


def ledger_lines(ledger: Ledger, topics: Sequence[RunTopic]) -> list[str]:
    """Topics, losses by name, and the three sums."""
    lines = table([_topic_row(topic) for topic in topics], right=(1,))
    calls = ledger.calls
    if ledger.losses:
        rows = [(f"  {one_line(name)}", f"{count:,}") for name, count in ledger.losses.items()]
        if ledger.refined_refused:
            rows.append(("  (of these rewritten in vain)", f"{ledger.refined_refused:,}"))
        rows += [("  in progress", f"{ledger.in_progress:,}")] if ledger.in_progress else []
        lines += ["where the rest went", *table(rows, right=(1,))]
    if ledger.refined_kept:
        lines.append(f"{ledger.refined_kept:,} of the kept ones were rewritten to keep the rules")
    parts = [ledger.kept, *ledger.losses.values(), *([ledger.in_progress] if ledger.in_progress else [])]
    lines += [
        f"asked {ledger.asked:,} = {ledger.kept:,} kept + {ledger.missing:,} missing",
        f"candidates {ledger.candidates:,} = {' + '.join(f'{part:,}' for part in parts)}",
        f"calls {calls.made:,} = {calls.useful:,} useful + {sum(calls.failed.values()):,} failed"
        + _reasons(ledger),
        f"tokens {amount(calls.tokens_in)} in, {amount(calls.tokens_out)} out, ${calls.cost:.2f}",
    ]
    return lines


def meter_words(event: Progress) -> list[str]:
    """Yield and diversity in few words; none before there is something to say."""
    meters = event.diversity
    if meters is None or meters.distinct_2 is None or event.ledger.share_kept is None:
        return []
    near = "" if meters.nearest is None else f", nearest {meters.nearest:.2f}"
    return [f"kept {event.ledger.share_kept:.0%}, distinct-2 {meters.distinct_2:.2f}{near}"]


def diversity_lines(meters: Meters) -> list[str]:
    """The meters, and the most frequent verbs with their objects."""
    if meters.distinct_1 is None or meters.distinct_2 is None:
        return []
    near = "" if meters.nearest is None else f", ROUGE-L to the nearest {meters.nearest:.2f}"
    lines = [f"diversity: distinct-1 {meters.distinct_1:.2f}, distinct-2 {meters.distinct_2:.2f}{near}"]
    rows = [
        (f"  {one_line(verb.verb, 20)}", f"{verb.count:,}", ", ".join(one_line(n, 20) for n, _ in verb.nouns))
        for verb in meters.verbs[:8]
    ]
    return [*lines, *table(rows, right=(1,))]


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
