"""Take the last act back: a verdict, an edit, a filter, an import, a change of topics. It works across restarts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from pairsmith.backends.text import one_line
from pairsmith.pairs.store.journal import Entry, next_redo, next_undo, redo, undo

from .arguments import add_workspace
from .opening import opened
from .output import counted, say

EXAMPLE = """
pairsmith undo git.pairsmith
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)


def run(arguments: Namespace) -> int:
    """Undo one act."""
    return move(arguments, forward=False)


def move(arguments: Namespace, *, forward: bool) -> int:
    """Undo or redo one act and say which; exit code 1 where there is none."""
    with opened(arguments) as workspace:
        entry = workspace.write(redo if forward else undo)
        after = workspace.read(next_redo if forward else next_undo)
    word = "redone" if forward else "undone"
    data = {
        "direction": "redo" if forward else "undo",
        "entry": None if entry is None else asdict(entry),
        "next": None if after is None else asdict(after),
    }
    say(arguments, lambda: _lines(entry, after, word), data)
    return 0 if entry is not None else 1


def _lines(entry: Entry | None, after: Entry | None, word: str) -> list[str]:
    if entry is None:
        return [f"there is nothing to be {word}"]
    lines = [f"{word}: {one_line(entry.label)} ({one_line(entry.at)})"]
    if entry.left_alone:
        lines.append(
            f"{counted(entry.left_alone, 'pair')} left as they are: changed since, or their text is taken"
        )
    if after is not None:
        lines.append(f"next: {one_line(after.label)}")
    return lines
