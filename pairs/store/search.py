"""Full-text search: any input is a query, newest pairs first, with a deadline.

Words match by their beginning, in any order, in instruction, input or response; "quoted words" match as a
phrase. Scripts written without spaces are found too: their characters are also stored one by one (`spaced`),
and a run of them in a query is a phrase of characters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pairsmith.backends.text import clean

from .driver import sqlite3

# Han, Kana, Bopomofo, Thai, Lao, Tibetan, Myanmar, Khmer.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # noqa: E501 - one class
_RUN = re.compile(f"[{_UNSPACED}]+")
_PIECE = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_PART = re.compile(r'"([^"]*)"|(\S+)')
_MAX_QUERY = 1000
_MAX_PARTS = 32
_GROWING = 3
_STEPS = 2000


def spaced(*texts: str) -> str:
    """Those of the texts that hold unspaced scripts, each of their characters a word; empty where none
    does.
    """
    return "\n".join(
        _RUN.sub(lambda run: f" {' '.join(run[0])} ", text)
        for text in texts
        if not text.isascii() and _RUN.search(text)
    )


def match_expression(query: str) -> str | None:
    """The FTS5 expression for what a person typed; None where there is nothing to search for.

    Every part is quoted, so no input is an error or an operator.
    """
    query = clean(query)[0][:_MAX_QUERY]
    parts = [(match[1], match[2]) for match in _PART.finditer(query)]
    terms: list[str] = []
    for number, (phrase, word) in enumerate(parts, start=1):
        # Only the last word may still be in the typing; the beginning of a common word costs much more than
        # the word.
        growing = phrase is None and number == len(parts)
        pieces = _PIECE.findall(word if phrase is None else phrase)
        terms += [_term(piece, growing=growing and piece is pieces[-1]) for piece in pieces]
    terms = [term for term in terms if term]
    return " AND ".join(terms[:_MAX_PARTS]) or None


def _term(piece: str, *, growing: bool) -> str:
    if not any(char.isalnum() for char in piece):
        return ""
    if _RUN.fullmatch(piece):
        return f'{{spaced}} : "{" ".join(piece)}"'
    words = piece.replace('"', " ").strip()
    return f'"{words}"{" *" if growing and len(words) >= _GROWING else ""}'


class SearchTimedOut(Exception):
    """The deadline passed before the answer was there."""


@contextmanager
def deadline(
    conn: sqlite3.Connection, seconds: float | None, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Interrupt what runs on this connection after so many seconds, or when `cancelled` says so.

    Raises SearchTimedOut.
    """
    if seconds is None:
        yield
        return
    end = time.monotonic() + seconds
    conn.set_progress_handler(lambda: int(time.monotonic() > end or cancelled()), _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if "interrupt" in str(error):
            raise SearchTimedOut from error
        raise
    finally:
        conn.set_progress_handler(None, 0)


def search(
    conn: sqlite3.Connection, query: str, *, limit: int = 50, seconds: float | None = 0.2
) -> tuple[list[int], bool]:
    """The newest pairs that match, and whether the search came to its end within the deadline.

    An empty query finds nothing. Never raises for what is typed.
    """
    expression = match_expression(query)
    if expression is None:
        return [], True
    found: list[int] = []
    try:
        with deadline(conn, seconds):
            for row in conn.execute(
                "SELECT pair.id FROM pair_fts JOIN pair ON pair.id = pair_fts.rowid"
                " WHERE pair_fts MATCH ? AND pair.removed = 0 ORDER BY pair_fts.rowid DESC LIMIT ?",
                (expression, limit),
            ):
                found.append(int(row[0]))
    except SearchTimedOut:
        return found, False
    return found, True
