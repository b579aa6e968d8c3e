"""Exporting pairs: chosen by verdict and expression, in the order of their ids, one snapshot, constant memory.

The file appears whole or not at all, and the same workspace gives the same bytes again.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pairsmith.backends.text import one_line

from .chosen_pairs import NAMES, VerdictChoice, choose_pairs, count_verdicts_of
from .errors import PairsmithError, UsageError
from .export_formats import FORMATS, ExportPair, TextFormat
from .expressions import parse_expression
from .store.calls import models_of
from .store.driver import sqlite3
from .store.errors import from_os
from .store.pair_rows import get_pairs
from .store.publish import sync_folder, temporary_name
from .store.scores import scores_of
from .store.topics import list_topics
from .store.verdicts import get_verdicts
from .store.workspace import Workspace

_BATCH = 500


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Which pairs, in which format. `judge`: whose scores an attribute's bare name in `where` means."""

    format: str = "jsonl"
    verdict: VerdictChoice = "not-rejected"
    where: str | None = None
    judge: str | None = None
    balance_topics: bool = False
    seed: int = 0
    """Which pairs of a larger topic are taken when topics are balanced."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written: pairs = the sum of `verdicts`, and of `topics` (the empty path: of no topic)."""

    path: Path
    format: str
    pairs: int
    size: int
    verdicts: dict[str, int]
    topics: dict[tuple[str, ...], int]
    left_out: int
    """Pairs of the verdict that the expression does not hold for, or is unknown for."""
    balanced_out: int
    """Pairs left out so that all topics have equally many."""


def export_pairs(
    workspace: Workspace,
    path: Path,
    settings: ExportSettings,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> ExportReport:
    """Write a file (blocking), replacing an older one of that name. What `check` raises leaves the old one.

    Raises UsageError for a bad format, expression or place, PairsmithError where nothing is chosen or it cannot be
    written.
    """
    if settings.format not in FORMATS:
        raise UsageError(
            f"{one_line(settings.format)} is not a format of export", f"Formats: {', '.join(FORMATS)}"
        )
    if settings.where is not None:
        parse_expression(settings.where)
    check_target(path, workspace.path)
    return workspace.read(lambda conn: _export(conn, path, settings, progress, check))


@dataclass(frozen=True, slots=True)
class ExportPreview:
    """What an export would write, as in `ExportReport`."""

    pairs: int
    verdicts: dict[str, int]
    left_out: int
    balanced_out: int


def preview_export(workspace: Workspace, settings: ExportSettings) -> ExportPreview:
    """Choose as `export_pairs` would, and write nothing (blocking). Raises ExpressionError."""

    def look(conn: sqlite3.Connection) -> ExportPreview:
        choice = _choose(conn, settings)
        verdicts = count_verdicts_of(conn, choice.ids)
        return ExportPreview(len(choice.ids), verdicts, choice.left_out, choice.balanced_out)

    return workspace.read(look)


def check_target(path: Path, workspace: Path) -> None:
    """Refuse places that an export would harm. Raises UsageError."""
    shown = one_line(str(path))
    if path.is_dir():
        raise UsageError(f"{shown} is a folder", "Name the file in it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {one_line(str(path.parent))}", "Make it first")
    if path.exists() and not path.is_file():
        raise UsageError(f"{shown} is not a file that can be replaced", "Name another one")
    with contextlib.suppress(OSError):
        if path.exists() and path.open("rb").read(16) == b"SQLite format 3\0":
            raise UsageError(f"{shown} is a database and is not overwritten", "Choose another name")
    if path.absolute() in [
        workspace.absolute().with_name(workspace.name + s) for s in ("", "-wal", "-shm", ".lock")
    ]:
        raise UsageError(f"{shown} belongs to the workspace", "Choose another name")


@dataclass(frozen=True, slots=True)
class _Choice:
    ids: Sequence[int]
    left_out: int
    balanced_out: int


def _export(
    conn: sqlite3.Connection,
    path: Path,
    settings: ExportSettings,
    progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> ExportReport:
    choice = _choose(conn, settings)
    if not choice.ids:
        raise PairsmithError(
            f"no pair is {_said(settings)}", "Nothing was written; --verdict and --where say what is taken"
        )
    verdicts: Counter[str] = Counter()
    topics: Counter[tuple[str, ...]] = Counter()

    def counted() -> Iterator[ExportPair]:
        for done, pair in enumerate(_pairs(conn, choice.ids), 1):
            verdicts[pair.verdict] += 1
            topics[pair.topic] += 1
            yield pair
            if done % 200 == 0:
                check()
                progress(done, len(choice.ids))

    size = write_text(path, FORMATS[settings.format], counted())
    return ExportReport(
        path=path,
        format=settings.format,
        pairs=len(choice.ids),
        size=size,
        verdicts={name: verdicts[name] for name in NAMES if verdicts[name]},
        topics=dict(sorted(topics.items())),
        left_out=choice.left_out,
        balanced_out=choice.balanced_out,
    )


def _said(settings: ExportSettings) -> str:
    which = {"any": "there", "accepted": "accepted", "not-rejected": "there that is not rejected"}[
        settings.verdict
    ]
    return which + (f" and has {one_line(settings.where)}" if settings.where else "")


def _choose(conn: sqlite3.Connection, settings: ExportSettings) -> _Choice:
    chosen = choose_pairs(conn, settings.verdict, settings.where, settings.judge)
    if not settings.balance_topics:
        return _Choice(chosen.ids, chosen.left_out, 0)
    balanced = _balanced(conn, chosen.ids, settings.seed)
    return _Choice(balanced, chosen.left_out, len(chosen.ids) - len(balanced))


def _balanced(conn: sqlite3.Connection, ids: Sequence[int], seed: int) -> list[int]:
    """As many pairs of each topic as the smallest has, drawn by the seed; pairs of no topic are one group."""
    groups: defaultdict[int | None, list[int]] = defaultdict(list)
    for start in range(0, len(ids), _BATCH):
        for pair in get_pairs(conn, ids[start : start + _BATCH]):
            groups[pair.topic_id].append(pair.id)
    if not groups:
        return []
    least = min(map(len, groups.values()))
    draw = random.Random(seed)
    taken = [draw.sample(groups[topic], least) for topic in sorted(groups, key=lambda t: (t is None, t or 0))]
    return sorted(pair_id for group in taken for pair_id in group)


def _pairs(conn: sqlite3.Connection, ids: Sequence[int]) -> Iterator[ExportPair]:
    paths = {topic.id: topic.path for topic in list_topics(conn, pruned=True)}
    for start in range(0, len(ids), _BATCH):
        pairs = get_pairs(conn, ids[start : start + _BATCH])
        versions = [pair.version.id for pair in pairs]
        judged, verdicts = scores_of(conn, versions), get_verdicts(conn, versions)
        models = models_of(conn, [pair.version.call_id for pair in pairs if pair.version.call_id is not None])
        for pair in pairs:
            verdict = verdicts.get(pair.version.id)
            given = judged.get(pair.version.id, {})
            yield ExportPair(
                uid=pair.uid,
                instruction=pair.instruction,
                input=pair.input,
                output=pair.output,
                topic=paths.get(pair.topic_id or 0, ()),
                verdict=pair.verdict,
                decided_by=pair.verdict_by or "",
                rule=(verdict.rule if verdict is not None else None) or "",
                model=models.get(pair.version.call_id or 0, ""),
                scores={judge: said.scores for judge, said in given.items() if said.scores},
            )


def write_text(path: Path, format: TextFormat, pairs: Iterator[ExportPair]) -> int:  # noqa: A002 - what it is
    """Write a file of a text format under a temporary name, flush it to the disk, give it its name. Returns its bytes.

    Raises PairsmithError where the disk or its permissions do not allow it.
    """
    with published(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        _write(file, format, pairs)
        file.flush()
        os.fsync(file.fileno())
    return path.stat().st_size


def _write(file: TextIO, format: TextFormat, pairs: Iterator[ExportPair]) -> None:  # noqa: A002
    file.write(format.head)
    for number, pair in enumerate(pairs):
        if number:
            file.write(format.between)
        file.write(format.write(pair))
    file.write(format.tail)


@contextlib.contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Raises PairsmithError for what the operating system refuses.
    """
    _sweep(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise from_os(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _sweep(path: Path) -> None:
    """Remove what a killed export of this name left behind."""
    for left in path.parent.glob(f".{_literal(path.name)}.tmp-*"):
        pid = left.name.rsplit(".tmp-", 1)[1].split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            with contextlib.suppress(OSError):
                left.unlink()


def _literal(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
