"""Exporting pairs: chosen by verdict and expression, in the order of their ids, one snapshot, constant memory.

The file appears whole or not at all, and the same workspace gives the same bytes again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from pairsmith.backends.text import one_line

from .chosen_pairs import NAMES, VerdictChoice, choose_pairs, count_verdicts_of
from .errors import PairsmithError, UsageError
from .export_formats import FORMATS, HUB, SPREADSHEET, ExportPair, FolderFormat, TableFormat, TextFormat
from .export_notes import Notes
from .export_place import check_target
from .export_rows import count_preferences, pairs_of, preferences_of, split_of, with_replaced
from .export_text import write_text
from .expressions import parse_expression
from .manifest import NAME, Seal, SealedFile, manifest_path
from .published import published, published_folder
from .splits import Side, assign, store_sides, stored_sides, texts_to_split
from .store.driver import sqlite3
from .store.pair_rows import get_pairs
from .store.workspace import Workspace

__all__ = ["check_licence", "check_target", "export_pairs", "preview_export", "published"]

_BATCH = 500
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,49}")


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
    split: bool = False
    """Only for "hf": the workspace's own train, validation and test instead of train alone."""
    spreadsheet: bool = False
    """Only for "csv": an apostrophe before every cell that a spreadsheet would compute."""
    card: bool = False
    """A dataset card beside the file (PATH.card.md); a folder always has one (README.md)."""
    licence: str = ""
    """For the card: an identifier as the Hub has them (cc-by-4.0); empty: not stated."""


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
    manifest: Path = Path()
    splits: Mapping[str, int] = field(default_factory=dict)
    """Rows of each split, where there are any."""
    notes: tuple[str, ...] = ()
    """What a reader of this file should know: cells like formulas, columns that look like dates."""


def export_pairs(
    workspace: Workspace,
    path: Path,
    settings: ExportSettings,
    *,
    look: Callable[[ExportPair], None] = lambda pair: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> ExportReport:
    """Write a file (blocking), replacing an older one of that name. What `look` (at every row) or `check` raises
    leaves the old one.

    Raises UsageError for a bad format, expression or place, PairsmithError where nothing is chosen or it cannot be
    written.
    """
    _check_settings(settings)
    check_target(path, workspace.path, folder=isinstance(_form(settings), FolderFormat))
    if settings.split:
        _split(workspace, settings, check)
    return workspace.read(lambda conn: _export(conn, path, settings, look, progress, check))


def _form(settings: ExportSettings) -> TextFormat | TableFormat | FolderFormat:
    return HUB if settings.format == HUB.name else FORMATS[settings.format]


def _check_settings(settings: ExportSettings) -> None:
    if settings.format not in (*FORMATS, HUB.name):
        raise UsageError(
            f"{one_line(settings.format)} is not a format of export", f"Formats: {', '.join(FORMATS)}"
        )
    if settings.split and not isinstance(_form(settings), FolderFormat):
        raise UsageError("only the format hf has splits", "Give --format hf with it")
    if settings.spreadsheet and settings.format != "csv":
        raise UsageError("only the format csv is for spreadsheets", "Give --format csv with it")
    if settings.where is not None:
        parse_expression(settings.where)
    check_licence(settings.licence)


def check_licence(licence: str) -> None:
    """Raises UsageError for what is no identifier of a licence; empty is "not stated"."""
    if licence and not _LICENCE.fullmatch(licence):
        raise UsageError(
            f"{one_line(licence)} is no identifier of a licence",
            "They are lower-case words like cc-by-4.0, mit or other",
        )


def _split(workspace: Workspace, settings: ExportSettings, check: Callable[[], None]) -> None:
    """Give every chosen pair that has none a side of the workspace's split, for good."""
    ids, stored = workspace.read(lambda conn: (_choose(conn, settings).ids, stored_sides(conn)))
    if set(ids) - stored.keys():
        check()
        texts = workspace.read(lambda conn: texts_to_split(conn, [*ids, *stored]))
        fresh = assign(texts, stored)
        check()
        workspace.write(lambda conn: store_sides(conn, fresh))


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
        if settings.format == "dpo":
            found = count_preferences(conn, choice.ids)
            verdicts = {name: found[name] for name in NAMES if name in found}
        else:
            verdicts = count_verdicts_of(conn, choice.ids)
        return ExportPreview(sum(verdicts.values()), verdicts, choice.left_out, choice.balanced_out)

    return workspace.read(look)


@dataclass(frozen=True, slots=True)
class _Choice:
    ids: Sequence[int]
    left_out: int
    balanced_out: int


def _export(
    conn: sqlite3.Connection,
    path: Path,
    settings: ExportSettings,
    look: Callable[[ExportPair], None],
    progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> ExportReport:
    choice = _choose(conn, settings)
    if not choice.ids:
        raise PairsmithError(
            f"no pair is {_said(settings)}", "Nothing was written; --verdict and --where say what is taken"
        )
    total = len(choice.ids)
    if settings.format == "dpo" and not (total := sum(count_preferences(conn, choice.ids).values())):
        raise PairsmithError(
            "there are no preferences among these pairs",
            "Edit a response, or accept one and reject another to the same instruction",
        )
    counts = _Counts(Notes(settings.format))
    rows = _counted(_rows(conn, settings, choice.ids), counts, total, look, progress, check)
    size = _write(conn, path, settings, rows, counts)
    return ExportReport(
        path=path,
        format=settings.format,
        pairs=counts.rows,
        size=size,
        verdicts={name: counts.verdicts[name] for name in NAMES if counts.verdicts[name]},
        topics=dict(sorted(counts.topics.items())),
        left_out=choice.left_out,
        balanced_out=choice.balanced_out,
        manifest=manifest_path(path),
        splits=dict(counts.splits),
        notes=counts.notes.lines(spreadsheet=settings.spreadsheet),
    )


@dataclass
class _Counts:
    notes: Notes
    rows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    topics: Counter[tuple[str, ...]] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)


def _rows(conn: sqlite3.Connection, settings: ExportSettings, ids: Sequence[int]) -> Iterator[ExportPair]:
    if settings.format == "dpo":
        return preferences_of(conn, ids)
    if settings.format == "argilla":
        return with_replaced(conn, pairs_of(conn, ids))
    if not isinstance(_form(settings), FolderFormat):
        return pairs_of(conn, ids)
    sides: dict[int, Side] = stored_sides(conn) if settings.split else {}
    if settings.split and set(ids) - sides.keys():
        raise PairsmithError("new pairs came in while the split was made", "Export again")
    rows = split_of(conn, ids, sides)
    # What a reviewer noted is theirs: it stays with files, and is not published.
    return (replace(pair, note="") for pair in rows) if settings.format == HUB.name else rows


def _counted(
    rows: Iterator[ExportPair],
    counts: _Counts,
    total: int,
    look: Callable[[ExportPair], None],
    progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> Iterator[ExportPair]:
    for pair in rows:
        look(pair)
        counts.rows += 1
        counts.verdicts[pair.verdict] += 1
        counts.topics[pair.topic] += 1
        if pair.split:
            counts.splits[pair.split] += 1
        counts.notes.look_at(pair)
        yield pair
        if counts.rows % 200 == 0:
            check()
            progress(counts.rows, total)


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


def _write(
    conn: sqlite3.Connection,
    path: Path,
    settings: ExportSettings,
    rows: Iterator[ExportPair],
    counts: _Counts,
) -> int:
    """Write everything that belongs to the export under temporary names, then name it. Returns its data's bytes."""
    head = _head(conn, settings)
    if isinstance(_form(settings), FolderFormat):
        from .export_tables import write_bytes, write_datasets, write_shards

        write = write_shards if settings.format == HUB.name else write_datasets
        with published_folder(path) as folder, (folder / NAME).open("wb") as file:
            seal = Seal(file, head)
            write(folder, rows, seal)
            card = _card(conn, path, settings, counts, seal).encode()
            write_bytes(folder / "README.md", card)
            seal.file(SealedFile("README.md", len(card), hashlib.sha256(card).hexdigest(), 0))
            _finish(seal, file)
        return sum(sealed.bytes for sealed in seal.files if sealed.rows)
    with contextlib.ExitStack() as stack:
        # Named in the opposite order: the file first, its manifest last, so that none speaks of another file.
        sealed_to = stack.enter_context(published(manifest_path(path)))
        card_to = stack.enter_context(published(card_path(path))) if settings.card else None
        temporary = stack.enter_context(published(path))
        with sealed_to.open("wb") as file:
            seal = Seal(file, head)
            _write_rows(temporary, path.name, settings, rows, seal)
            _finish(seal, file)
        if card_to is not None:
            from .export_tables import write_bytes

            write_bytes(card_to, _card(conn, path, settings, counts, seal).encode())
        with contextlib.suppress(FileNotFoundError):
            manifest_path(path).unlink()
    return seal.files[0].bytes


def card_path(path: Path) -> Path:
    """Where the card of an exported file lies."""
    return path.with_name(f"{path.name}.card.md")


def _head(conn: sqlite3.Connection, settings: ExportSettings) -> dict[str, Any]:
    row = conn.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    return {
        "format": settings.format,
        "workspace": row[0] if row else "",
        "choice": {
            "verdict": settings.verdict,
            "where": settings.where,
            "judge": settings.judge if settings.where else None,
            "balance_topics": settings.balance_topics,
            "seed": settings.seed,
            "split": settings.split,
            "spreadsheet": settings.spreadsheet,
        },
    }


def _finish(seal: Seal, file: IO[bytes]) -> None:
    seal.finish()
    file.flush()
    os.fsync(file.fileno())


def _write_rows(
    temporary: Path, name: str, settings: ExportSettings, rows: Iterator[ExportPair], seal: Seal
) -> None:
    form = _form(settings)
    if isinstance(form, TextFormat):
        write_text(temporary, SPREADSHEET if settings.spreadsheet else form, rows, seal, name)
    else:
        from .export_tables import write_parquet

        write_parquet(temporary, rows, seal, name)


def _card(conn: sqlite3.Connection, path: Path, settings: ExportSettings, counts: _Counts, seal: Seal) -> str:
    from .dataset_card import CardFacts, write_card

    facts = CardFacts(
        name=path.name,
        format=settings.format,
        verdict=settings.verdict,
        where=settings.where,
        balanced=settings.balance_topics,
        pairs=counts.rows,
        verdicts={name: counts.verdicts[name] for name in NAMES if counts.verdicts[name]},
        topics=dict(sorted(counts.topics.items())),
        splits=dict(counts.splits),
        files=seal.files,
        scores=counts.notes.scores,
        models=counts.notes.models,
        licence=settings.licence,
    )
    return write_card(conn, facts)
