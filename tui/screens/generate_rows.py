"""The Generate place as lines for a width and a height. Where it is narrow, one thing under the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len

from ..text import cut, fill, line, wrap
from ..widgets.bars import WIDE
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.meters import ago, amount, bar, duration, history

if TYPE_CHECKING:
    from pairsmith.pairs.ledger import Ledger
    from pairsmith.pairs.store.live import Newest
    from pairsmith.pairs.store.runs import RunTopic

    from .generate_view import View

SPACE: Row = ()
_PURPOSE = {
    "instructions": ("list", "lists"),
    "response": ("response", "responses"),
    "judge": ("score", "scores"),
    "topics": ("topics", "topics"),
    "probe": ("probe of the judge", "probes of the judge"),
}
_MARKS = {
    "failed": ("✗", "bad"),
    "exhausted": ("!", "accent"),
    "waiting": ("…", "quiet"),
    "switched": ("→", "accent"),
}


def generate_rows(view: View, width: int, height: int, judge: str | None) -> list[Row]:
    """At most `height` lines: what matters most comes first and what gives way is the newest pairs."""
    head = [*_head(view, width), SPACE]
    told = _told(view, width, 2 if height < 24 else 4)
    told = [SPACE, *told] if told else []
    if width >= WIDE:
        left = min(90, max(58, width - 66))
        topics = _topics(view.topics, left - 2, max(4, height - 18))
        losses = _losses(view.ledger, width - left - 1, max(6, height - 20))
        middle = _beside(topics, losses, left)
        middle += [_diversity(view), _yield(view)]
    else:
        losses = [*_losses_short(view.ledger, width), _meters(view), _calls(view.ledger, width)]
        room = height - len(head) - len(losses) - len(told) - (2 if view.newest else 0)
        middle = [*_topics(view.topics, width - 2, max(3, room)), *losses]
    rest = height - len(head) - len(middle) - len(told)
    return [*head, *middle, *told, *_newest(view, width, rest, judge)][:height]


def _head(view: View, width: int) -> list[Row]:
    ledger = view.ledger
    share = f"{100 * ledger.kept // ledger.asked} %" if ledger.asked else ""
    left = f"about {duration(view.minutes_left)} left" if view.minutes_left else ""
    end = f"  {share:>5}   {left:<18}"
    first = f" asked {ledger.asked:,}   kept {ledger.kept:,}  "
    meter = bar(ledger.kept, ledger.asked, max(5, width - len(first) - len(end) - 1))
    style = {True: "good", False: "bad", None: "accent"}[view.good]
    status: list[Row] = [(Piece(f" {text}", style),) for text in wrap(view.status, width - 2, 600)[:3]]
    now = " · ".join(_now(view)) or _idle(view)
    return [
        (Piece(first, "strong"), Piece(meter, "accent"), Piece(end)),
        (Piece(" now   ", "quiet"), Piece(line(now, width - 8))),
        (Piece(" rate  ", "quiet"), Piece(cut("   ".join(_rates(view, width)), width - 8))),
        *status,
    ]


def _idle(view: View) -> str:
    """Why nothing is in flight."""
    if view.pace is not None and view.pace.waiting:
        seconds = max(view.pace.paused_s, view.pace.next_in_s)
        if seconds >= 1:
            return f"the server's limit is used up: the next call goes in {seconds:.0f} s"
    return "nothing in flight"


def _now(view: View) -> list[str]:
    by_topic: dict[str, list[str]] = {}
    for doing in view.doing:
        one, many = _PURPOSE.get(doing.purpose, (doing.purpose, doing.purpose))
        by_topic.setdefault(doing.topic, []).append(f"{doing.count} {many}" if doing.count > 1 else one)
    return [f"{topic}: {', '.join(what)}" if topic else ", ".join(what) for topic, what in by_topic.items()]


def _rates(view: View, width: int) -> list[str]:
    calls, found = view.ledger.calls, []
    wide = width >= WIDE
    if view.per_minute and wide:
        found.append(f"{view.per_minute:,.0f} pairs/min")
    if view.pace is not None:
        limit = view.pace.limit
        known = ("learned: " if view.pace.learned else "set: ") if wide else ""
        found.append(f"{view.pace.used} calls/min" + (f" (limit {known}{limit})" if limit else ""))
        found.append(f"{'calls ' if wide else ''}at once {view.pace.in_flight} of {view.pace.concurrency}")
    tokens = "tokens " if wide or view.pace is None else ""
    found.append(f"{tokens}{amount(calls.tokens_in)} in · {amount(calls.tokens_out)} out")
    found.append(f"${calls.cost:,.2f}")
    return found


def _topics(topics: Sequence[RunTopic], width: int, most: int) -> list[Row]:
    if not topics:
        return [(Piece(" topics are being asked for", "quiet"),)]
    shown = sorted(range(len(topics)), key=lambda n: (topics[n].kept >= topics[n].quota, n))[:most]
    rows: list[Row] = []
    for place in sorted(shown):
        topic = topics[place]
        numbers = f"{topic.kept:>5,} /{topic.quota:>5,}"
        mark = "dry" if topic.exhausted else ""
        moved = topic.quota - topic.planned
        mark += f" {'+' if moved > 0 else '−'}{abs(moved):,} moved" if moved else ""
        name = max(10, min(26, width // 3))
        room = width - name - len(numbers) - 18
        meter = bar(topic.kept, topic.quota, room) if room >= 5 else ""
        rows.append(
            (
                Piece(f" {fill(line(topic.name, name), name)}"),
                Piece(f"{numbers}  ", "quiet"),
                Piece(meter, "accent"),
                Piece(f" {fill(cut(mark.strip(), 14), 14)}", "accent"),
            )
        )
    if len(topics) > most:
        rows[-1] = (Piece(f" and {len(topics) - most + 1} more topics", "quiet"),)
    return rows


def losses_of(ledger: Ledger) -> list[tuple[str, int]]:
    """What became of the candidates that are not kept, most first."""
    found = sorted(ledger.losses.items(), key=lambda item: -item[1])
    return [*found, ("in progress", ledger.in_progress)] if ledger.in_progress else found


def candidates_sum(ledger: Ledger) -> str:
    """388 = 335 + 26 + 18: all candidates are somewhere."""
    return f"{ledger.candidates:,} = " + " + ".join(
        f"{n:,}" for n in (ledger.kept, *(n for _, n in losses_of(ledger)))
    )


def calls_sum(ledger: Ledger) -> str:
    """calls 694 = 690 useful + 4 failed."""
    calls = ledger.calls
    failed = sum(calls.failed.values())
    why = f" ({_named(calls.failed)})" if failed else ""
    return f"calls {calls.made:,} = {calls.useful:,} useful + {failed:,} failed{why}"


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{line(name, 40)} {count:,}" for name, count in counts.items())


def _losses(ledger: Ledger, width: int, most: int) -> list[Row]:
    rows: list[Row] = [(Piece("where the rest went", "quiet"),)]
    named = losses_of(ledger)
    wanted = max((cell_len(name) for name, _ in named), default=0)
    room = max(12, min(max(22, wanted), width - 20))
    for name, count in named[:most]:
        end = "  y retries" if name == "judge failed" else ""
        rows.append(
            (
                Piece(f"{fill(line(name, room), room + 1)}"),
                Piece(f"{count:>6,}", "strong"),
                Piece(end, "accent"),
            )
        )
    rest = named[most:]
    if rest:
        others = f"{len(rest)} other reasons"
        rows.append((Piece(fill(others, room + 1)), Piece(f"{sum(n for _, n in rest):>6,}", "strong")))
    if len(rows) == 1:
        rows.append((Piece("nothing is lost yet", "quiet"),))
    refined = refined_said(ledger)
    rows += [(Piece(cut(refined, width)),)] if refined else []
    rows.append((Piece(cut(candidates_sum(ledger), width)),))
    return [*rows, *((Piece(part),) for part in wrap(calls_sum(ledger), width)[:2])]


def refined_said(ledger: Ledger) -> str:
    """What became of instructions that were rewritten; empty where none was."""
    kept, refused = ledger.refined_kept, ledger.refined_refused
    return f"rewritten {kept + refused:,} = {kept:,} kept + {refused:,} refused" if kept or refused else ""


def _losses_short(ledger: Ledger, width: int) -> list[Row]:
    named = [f"{line(name, 45)} {count:,}" for name, count in losses_of(ledger)]
    refined = refined_said(ledger)
    said = wrap(" · ".join([*named, *([refined] if refined else [])]) or "nothing yet", width - 8)[:3]
    return [
        (Piece(" lost  ", "quiet"), Piece(said[0])),
        *((Piece("       "), Piece(text)) for text in said[1:]),
        (Piece("       "), Piece(cut(candidates_sum(ledger), width - 8), "quiet")),
    ]


def _calls(ledger: Ledger, width: int) -> Row:
    return (Piece(f" {cut(calls_sum(ledger), width - 2)}", "quiet"),)


def _diversity(view: View) -> Row:
    values = history([1 - value for value in view.likeness], 16)
    said = f"{view.likeness[-1]:.2f} mean likeness to nearest" if view.likeness else "after a few pairs"
    return (Piece(" diversity  ", "quiet"), Piece(f"{values:<17}", "accent"), Piece(said))


def _yield(view: View) -> Row:
    values = history(view.yields, 16)
    said = (
        f"{100 * view.yields[-1]:.0f} % of the newest lists were new"
        if view.yields
        else "after the first list"
    )
    return (Piece(" yield      ", "quiet"), Piece(f"{values:<17}", "accent"), Piece(said))


def _meters(view: View) -> Row:
    likeness = f" {view.likeness[-1]:.2f} alike" if view.likeness else " –"
    new = f" {100 * view.yields[-1]:.0f} % new" if view.yields else " –"
    return (
        Piece(" diversity ", "quiet"),
        Piece(history([1 - v for v in view.likeness], 12), "accent"),
        Piece(f"{likeness}   "),
        Piece("yield ", "quiet"),
        Piece(history(view.yields, 12), "accent"),
        Piece(new),
    )


def _told(view: View, width: int, most: int) -> list[Row]:
    rows: list[Row] = []
    for seconds, kind, text in list(view.told)[-most:]:
        mark, style = _MARKS.get(kind, ("·", "quiet"))
        plain = "bad" if kind == "failed" else ""
        rows.append(
            (Piece(f" {ago(seconds):>4} "), Piece(f"{mark} ", style), Piece(line(text, width - 9), plain))
        )
    return rows


def _newest(view: View, width: int, most: int, judge: str | None) -> list[Row]:
    if not view.newest:
        return []
    rows: list[Row] = [SPACE, (Piece(" newest", "quiet"),)] if width >= WIDE else [SPACE]
    name = 24 if width >= 140 else 14
    for pair in view.newest[: max(0, most - len(rows))]:
        end = _scores(pair, judge) if width >= 60 else ""
        topic = fill(line(pair.topic, name), name + 1) if width >= 60 else ""
        text = line(pair.instruction, max(8, width - 8 - len(topic) - len(end) - 2))
        spare = max(1, width - 7 - len(topic) - len(end) - 1)
        rows.append(
            (
                Piece(f" {ago(_seconds(pair.created_at, view.at)):>4}  ", "quiet"),
                Piece(topic, "quiet"),
                Piece(fill(text, spare)),
                Piece(end, "quiet"),
            )
        )
    return rows if rows[-1] != SPACE else []


def _scores(pair: Newest, judge: str | None) -> str:
    judged = pair.judged.get(judge or "") or next(iter(pair.judged.values()), None)
    if judged is None:
        return ""
    if judged.reason is not None:
        return "judge failed"
    shown = {"helpfulness": "helpful", "verbosity": "verbose"}
    named = {name: value for name, value in judged.scores.items() if name in shown} or dict(
        list(judged.scores.items())[:2]
    )
    return "  ".join(f"{line(shown.get(name, name), 12)} {value:.1f}" for name, value in named.items())


def _seconds(at: str, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _beside(left: list[Row], right: list[Row], at: int) -> list[Row]:
    rows: list[Row] = []
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ()
        used = sum(cell_len(piece.text) for piece in one)
        other = right[number] if number < len(right) else ()
        rows.append((*one, Piece(" " * max(1, at - used)), *other))
    return rows
