"""Changing what a pair says: a human's edit, a regenerated response, another version chosen. All journalled.

The new version starts undecided; scores stay with the version that they judged.
"""

from __future__ import annotations

from . import journal
from .driver import sqlite3
from .errors import NoSuchPair
from .pair_rows import (
    Pair,
    Text,
    Version,
    add_version,
    get_pair,
    get_version,
    prepare_text,
    refuse_duplicate,
)


def edit_pair(
    conn: sqlite3.Connection,
    pair_id: int,
    *,
    instruction: str | None = None,
    input: str | None = None,  # noqa: A002 - the field's name
    output: str | None = None,
) -> int:
    """Store a human's version and choose it; what is not given stays. Returns the chosen version's id.

    A text equal to the chosen one changes nothing. Raises NoSuchPair, DuplicatePair, UsageError.
    """
    pair = _live(conn, pair_id)
    text = prepare_text(
        pair.instruction if instruction is None else instruction,
        pair.input if input is None else input,
        pair.output if output is None else output,
    )
    if text.sha256 == pair.version.sha256:
        return pair.version.id
    refuse_duplicate(conn, text, generated=pair.origin == "generated", but=pair_id)
    entry = journal.begin(conn, "edit", f"edited pair {pair_id}", focus=pair_id)
    version_id = add_version(conn, pair_id, "human", text)
    journal.note_new(conn, entry, "version.removed", [version_id])
    _choose(conn, entry, pair_id, version_id, text)
    return version_id


def add_model_version(
    conn: sqlite3.Connection,
    pair_id: int,
    output: str,
    *,
    call_id: int | None = None,
    instruction: str | None = None,
    input: str | None = None,  # noqa: A002 - the field's name
    choose: bool = True,
) -> int:
    """Store a regenerated response beside the others and, if asked, choose it. Returns its version's id.

    Raises NoSuchPair; DuplicatePair where the chosen text would be another pair's.
    """
    pair = _live(conn, pair_id)
    text = prepare_text(
        pair.instruction if instruction is None else instruction,
        pair.input if input is None else input,
        output,
    )
    if choose:
        refuse_duplicate(conn, text, generated=pair.origin == "generated", but=pair_id)
    entry = journal.begin(conn, "regenerate", f"regenerated pair {pair_id}", focus=pair_id)
    version_id = add_version(conn, pair_id, "model", text, call_id)
    journal.note_new(conn, entry, "version.removed", [version_id])
    if choose:
        _choose(conn, entry, pair_id, version_id, text)
    return version_id


def choose_version(conn: sqlite3.Connection, pair_id: int, version_id: int) -> None:
    """Make another version of the pair the one that counts; the pair then shows that version's verdict.

    Raises NoSuchPair, DuplicatePair, KeyError for a version that is not the pair's.
    """
    pair = _live(conn, pair_id)
    version = get_version(conn, version_id)
    if version.pair_id != pair_id or not _kept(conn, version):
        raise KeyError(version_id)
    if version_id == pair.version.id:
        return
    text = prepare_text(version.instruction, version.input, version.output)
    refuse_duplicate(conn, text, generated=pair.origin == "generated", but=pair_id)
    label = f"chose version {version.number} of pair {pair_id}"
    _choose(conn, journal.begin(conn, "choose", label, focus=pair_id), pair_id, version_id, text)


def _choose(conn: sqlite3.Connection, entry: int, pair_id: int, version_id: int, text: Text) -> None:
    journal.note_before(conn, entry, "pair.version", [pair_id])
    conn.execute(
        "UPDATE pair SET version_id = ?, instruction_key = ?, text_key = ? WHERE id = ?",
        (version_id, text.instruction_key, text.text_key, pair_id),
    )
    journal.note_after(conn, entry, "pair.version")


def _live(conn: sqlite3.Connection, pair_id: int) -> Pair:
    pair = get_pair(conn, pair_id)
    if pair.removed:
        raise NoSuchPair(pair_id)
    return pair


def _kept(conn: sqlite3.Connection, version: Version) -> bool:
    return not conn.execute("SELECT removed FROM version WHERE id = ?", (version.id,)).fetchone()[0]
