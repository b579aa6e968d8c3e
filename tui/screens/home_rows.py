"""The lines of Home: what can be done next comes first, what this machine offers last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.meta import get_meta
from pairsmith.pairs.store.stats import count_verdicts

from ..places import place_named
from ..recent import Recent
from ..session import DEFAULT_GENERATOR
from ..text import cut, fill, line
from ..widgets.line import Piece
from ..widgets.meters import ago, size
from ..widgets.pick_list import Entry, Row
from .backends_rows import by_keys
from .demonstration import note_rows, statement

if TYPE_CHECKING:
    from pairsmith.pairs.findings import Finding

    from ..pulls import Pull
    from ..session import Session

NAME = 16
TOUR = "eight steps, from 50 pairs to a small model of your own"
_MACHINE = (("ollama", "ollama"), ("llama-cpp", "llama.cpp"), ("nim", "NVIDIA NIM"), ("processor", "processor"),
            ("GPU", "GPU"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the open workspace stands."""

    domain: str
    language: str
    local_only: bool
    verdicts: dict[str, int]
    topics: int
    run: tuple[int, str, int, int] | None
    """The last generate run: id, state, kept, asked."""

    @classmethod
    def read(cls, conn: sqlite3.Connection) -> Standing:
        """Read it; the tables are large, so only indexes are counted."""
        from pairsmith.pairs.ledger import read_ledger
        from pairsmith.pairs.store.runs import list_runs
        from pairsmith.pairs.topic_tree import domain_leaves

        run = next(iter(list_runs(conn, "generate")), None)
        stood = None
        if run is not None:
            ledger = read_ledger(conn, run.id)
            stood = (run.id, run.state, ledger.kept, ledger.asked)
        return cls(
            get_meta(conn, "domain") or "",
            get_meta(conn, "language") or "",
            get_meta(conn, "local_only") == "1",
            count_verdicts(conn),
            len(domain_leaves(conn)),
            stood,
        )

    @property
    def pairs(self) -> int:
        """All of them."""
        return sum(self.verdicts.values())


@dataclass(slots=True)
class Known:
    """What has been found out so far."""

    recent: Sequence[Recent] = ()
    standing: Standing | None = None
    machine: dict[str, Finding] = field(default_factory=dict)
    writer: str | None = None
    """A model of this machine for a quick look."""
    looked: bool = False
    """Whether `writer` is known to be all there is."""
    pull: Pull | None = None
    """A model on its way here."""


def entries_of(known: Known, session: Session, width: int) -> list[Entry]:
    """The whole list."""
    width -= 4
    if session.workspace is None:
        found = [
            _said("none", "No workspace is open." if known.recent else "No workspace yet.", "strong"),
            _gap("a"),
        ]
        found += _first_ways(known, width)
    else:
        found = [*_present(known.standing, session, width), *_notes(session, width), _gap("a")]
        found += _next(known.standing, session, width)
        found += [_gap("b"), *_other_ways(known, session, width)]
    here = session.path.absolute() if session.path else None
    others = [recent for recent in known.recent if recent.path != here]
    if others:
        found += [_gap("c"), _said("recent-head", "Workspaces", "strong")]
        found += [_recent(recent, width) for recent in others[:8]]
    return [*found, _gap("d"), _said("machine-head", "On this machine", "strong"), *_machine(known, width)]


def _said(name: str, text: str, style: str = "") -> Entry:
    return Entry(name, ((Piece(text, style),),), pickable=False)


def _gap(name: str) -> Entry:
    return Entry(f"gap-{name}", ((),), pickable=False)


def _way(entry: str, name: str, text: str, width: int) -> Entry:
    rows = [(Piece(fill(name, NAME), "strong"), Piece(part)) for part in _wrapped(text, width - NAME)[:1]]
    rows += [(Piece(" " * NAME), Piece(part)) for part in _wrapped(text, width - NAME)[1:3]]
    return Entry(entry, tuple(rows))


def _wrapped(text: str, width: int) -> list[str]:
    from ..text import wrap

    return wrap(text, max(20, width))


def _first_ways(known: Known, width: int) -> list[Entry]:
    found = []
    if known.writer == DEFAULT_GENERATOR:
        text = (
            "a demonstration model is built in: 50 pairs about Git in a minute, offline, free. Good for seeing how"
            " all this works."
        )
        found.append(_way("try", "Try it now", text, width))
    elif known.writer is not None:
        text = (
            f"{line(known.writer, 60)} is on this machine: 20 pairs about Git, offline, free. Good for seeing how"
            " all this works."
        )
        found.append(_way("try", "Try it now", text, width))
    elif known.looked:
        found.append(_get_way(known, width))
    found.append(_way("tour", "Guided tour", TOUR, width))
    found.append(_way("new", "Start for real", "type what your data should be about", width))
    found.append(_way("open", "Open", "a .pairsmith file, or import JSON, JSONL, CSV, Parquet", width))
    if known.writer == DEFAULT_GENERATOR:
        found.append(_get_way(known, width))
    return found


def _get_way(known: Known, width: int) -> Entry:
    """A model to download; while one is on its way, how far it is."""
    pull = known.pull
    if pull is not None and not pull.over:
        numbers = f"{size(pull.completed) or '0 B'} of {size(pull.total)}" if pull.total else "asking the Hub"
        text = f"{line(pull.model, 40)} is on its way: {numbers}{f' ({pull.status})' if pull.status else ''}"
        return _way("place:backends", "Get a model", text, width)
    return _way("get", "Get a model", "download a small one that runs here, from 0.4 GB", width)


def _other_ways(known: Known, session: Session, width: int) -> list[Entry]:
    tour = session.tour
    text = TOUR
    if tour is not None:
        step = tour.present
        text = f"step {tour.number} of {len(tour.steps)}: {step.title}" if step else "all steps are done"
    found = [
        _way("import", "Import", "take pairs from a file into this workspace", width),
        _way("new", "New", "another workspace", width),
        _way("open", "Open", "another .pairsmith file", width),
        _way("tour", "Guided tour", text, width),
    ]
    if statement(session) or (known.pull is not None and not known.pull.over):
        found.append(_get_way(known, width))
    return found


def _present(standing: Standing | None, session: Session, width: int) -> list[Entry]:
    assert session.path is not None
    name = line(session.path.name, 40)
    if standing is None:
        return [_said("present", name, "strong"), _said("numbers", "reading…", "quiet")]
    marks = [standing.language] if standing.language else []
    marks += ["local-only: nothing leaves this machine"] if standing.local_only else []
    about = line(standing.domain, max(10, width - len(name) - 3))
    verdicts = standing.verdicts
    numbers = (
        f"{standing.pairs:,} pairs: ✓ {verdicts['accepted']:,}  ✗ {verdicts['rejected']:,}"
        f"  · {verdicts['undecided']:,}    {standing.topics:,} topics    {line(' · '.join(marks), 60)}"
    )
    return [
        Entry("present", ((Piece(name, "strong"), Piece("   "), Piece(about)),), pickable=False),
        _said("numbers", cut(numbers, width + 2)),
    ]


def _notes(session: Session, width: int) -> list[Entry]:
    """That the demonstration model is at work, and the way out."""
    return [Entry(f"note-{n}", (row,), pickable=False) for n, row in enumerate(note_rows(session, width))]


def _next(standing: Standing | None, session: Session, width: int) -> list[Entry]:
    """What comes next, the nearest first: only places that are there."""
    wanted: list[tuple[str, str]] = []
    job = session.job
    if job is not None:
        of = f" {job.done:,} of {job.total:,}" if job.done is not None and job.total is not None else ""
        wanted.append(("generate", f"▶ {job.name}{of} is {'paused' if job.paused else 'under way'}"))
    elif standing is not None and standing.run is not None and standing.run[2] < standing.run[3]:
        number, _, kept, asked = standing.run
        wanted.append(("generate", f"go on with run {number}: {kept:,} of {asked:,} pairs are there"))
    if standing is not None and standing.verdicts["undecided"]:
        wanted.append(("review", f"{standing.verdicts['undecided']:,} pairs wait for a verdict"))
    if standing is not None and not standing.pairs:
        what = (
            f"{standing.topics:,} topics: share the pairs out"
            if standing.topics
            else "name them, or let them be suggested"
        )
        wanted += [("topics", what), ("generate", "make pairs; see what they will cost first")]
        wanted.append(("backends", f"{session.generator} writes; choose another"))
    elif standing is not None:
        wanted += [("train", "make a small model of them"), ("export", "write a dataset")]
        wanted.append(("generate", "more pairs"))
    found: dict[str, Entry] = {}
    for name, text in wanted:
        place = place_named(name)
        if place is not None and name not in found:
            found[name] = _way(f"place:{name}", f"{place.key} {place.name}", line(text, width), width)
    return [_said("next", "Next", "strong"), *found.values()] if found else []


def _recent(recent: Recent, width: int) -> Entry:
    when = f"{ago(time.time() - recent.at)} ago" if recent.at else "here"
    name = fill(line(recent.path.name, 28), 29)
    about = line(recent.domain or _folder(recent.path), max(8, width - 29 - 12))
    end = f"{when:>10}"
    return Entry(
        f"recent:{recent.path}",
        ((Piece(name), Piece(fill(about, max(8, width - 29 - 12)), "quiet"), Piece(end, "quiet")),),
    )


def _folder(path: Path) -> str:
    try:
        return f"~/{path.parent.relative_to(Path.home())}"
    except ValueError:
        return str(path.parent)


def _machine(known: Known, width: int) -> list[Entry]:
    found = []
    for key, name in _MACHINE:
        finding = known.machine.get(key)
        if finding is None:
            rows: list[Row] = [(Piece(f"  {fill(name, NAME - 2)}"), Piece("looking…", "quiet"))]
        else:
            mark, style = {"good": ("✓", "good"), "note": ("·", "quiet"), "bad": ("✗", "bad")}[finding.state]
            said = _wrapped(finding.summary, width - NAME - 1)[:2]
            rows = [(Piece(f"{mark} ", style), Piece(fill(name, NAME - 2)), Piece(said[0]))]
            rows += [(Piece(" " * NAME), Piece(part)) for part in said[1:]]
            advice = _wrapped(by_keys(finding.advice), width - NAME - 1)[:3] if finding.advice else []
            rows += [(Piece(" " * NAME), Piece(part, "quiet")) for part in advice]
        found.append(Entry(f"machine-{key}", tuple(rows), pickable=False))
    return found
