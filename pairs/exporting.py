"""Exporting pairs: chosen by verdict and expression, in the order of their ids, one snapshot, constant memory.

The file appears whole or not at all, and the same workspace gives the same bytes again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from .chosen_pairs import NAMES
from .errors import PairsmithError
from .export_choice import choose, give_sides, said
from .export_formats import HUB, SPREADSHEET, ExportPair, FolderFormat, TextFormat
from .export_notes import Notes
from .export_place import check_target
from .export_rows import count_preferences, pairs_of, preferences_of, split_of, with_replaced
from .export_settings import ExportSettings, check_settings
from .export_text import write_text
from .manifest import NAME, Seal, SealedFile, manifest_path
from .published import published, published_folder
from .splits import Side, stored_sides
from .store.driver import sqlite3
from .store.workspace import Workspace


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
    check_settings(settings)
    check_target(path, workspace.path, folder=isinstance(settings.form, FolderFormat))
    if settings.split:
        give_sides(workspace, settings, check)
    return workspace.read(lambda conn: _export(conn, path, settings, look, progress, check))


def _export(
    conn: sqlite3.Connection,
    path: Path,
    settings: ExportSettings,
    look: Callable[[ExportPair], None],
    progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> ExportReport:
    choice = choose(conn, settings)
    if not choice.ids:
        raise PairsmithError(
            f"no pair is {said(settings)}", "Nothing was written; --verdict and --where say what is taken"
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
    if not isinstance(settings.form, FolderFormat):
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


def _write(
    conn: sqlite3.Connection,
    path: Path,
    settings: ExportSettings,
    rows: Iterator[ExportPair],
    counts: _Counts,
) -> int:
    """Write everything that belongs to the export under temporary names, then name it. Returns its data's bytes."""
    head = _head(conn, settings)
    if isinstance(settings.form, FolderFormat):
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
    form = settings.form
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
