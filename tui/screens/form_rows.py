"""Settings as lines with a cursor: a name, a value between arrows or to be typed, a sentence about it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

from ..text import fill, line, wrap
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.pick_list import Entry

NAME = 14


@dataclass(frozen=True, slots=True)
class Setting:
    """`turns`: left and right change it; otherwise enter asks for it. `note` stands below."""

    id: str
    name: str
    value: str
    turns: bool = False
    note: str = ""


def setting_entries(settings: Sequence[Setting], width: int) -> list[Entry]:
    """One entry for each setting."""
    width -= 5
    found = []
    for one in settings:
        value = line(one.value, max(8, width - NAME - 4))
        shown = f"‹ {value} ›" if one.turns else value
        rows: list[Row] = [(Piece(fill(one.name, NAME), "quiet"), Piece(shown))]
        rows += [
            (Piece(" " * NAME), Piece(text, "quiet")) for text in wrap(one.note, width - NAME)[:3] if one.note
        ]
        found.append(Entry(one.id, tuple(rows)))
    return found


def near(path: Path) -> str:
    """A path as short as it can be said: from the present folder, or from the user's own."""
    for folder, before in ((present_folder(), ""), (Path.home(), "~/")):
        with contextlib.suppress(ValueError, OSError):
            return before + str(path.absolute().relative_to(folder))
    return str(path)


def present_folder() -> Path:
    """Where the application was started; where that was taken away meanwhile, the user's own folder."""
    try:
        return Path.cwd()
    except OSError:
        return Path.home()


def tail(path: Path, cells: int) -> str:
    """The end of a path that fits: its end tells paths apart."""
    shown = line(near(path), 10_000)
    while cell_len(shown) > cells > 1:
        shown = "…" + shown[1 + max(1, cell_len(shown) - cells) :]
    return shown
