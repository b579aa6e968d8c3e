"""What a command says: text or one JSON document on standard output, errors as one line on standard error.

Everything that we did not write ourselves passes `visible` or `one_line` first; JSON is ASCII, so that nothing in it
can do anything to a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pairsmith.backends.text import one_line


class Failed(Exception):
    """A command ends with this exit code and this line. `kind` names the cause in --json."""

    def __init__(self, message: str, code: int = 1, *, advice: str = "", kind: str = "failed") -> None:
        super().__init__(message)
        self.message, self.code, self.advice, self.kind = message, code, advice, kind

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return {"kind": self.kind, "message": self.message, "advice": self.advice, "exit": self.code}


def prepare_streams() -> None:
    """Make the streams write any text, whatever the locale says, and exist even where they were closed. What is not
    UTF-8 in the input becomes U+FFFD: the lines beside it would be lost with it."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    for stream, errors in (
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
        (sys.stdin, "replace"),
    ):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors=errors)  # type: ignore[union-attr]


def fail(failure: Failed, *, json_wanted: bool) -> int:
    """Print a failure on one line of standard error (and as JSON where that is wanted); returns its exit code."""
    end = "" if failure.message.endswith("?") else "."
    text = f"{failure.message.rstrip('.')}{end} {failure.advice}" if failure.advice else failure.message
    with contextlib.suppress(OSError, ValueError):
        print(f"pairsmith: {one_line(text, 1000)}", file=sys.stderr, flush=True)
    if json_wanted:
        try:
            print(json.dumps({"error": failure.as_json()}), flush=True)
        except OSError:  # nobody reads it, or the disk is full: the line above has said it
            end_output()
    return failure.code


def say(arguments: Namespace, lines: Callable[[], Iterable[str]], data: Any) -> None:
    """The command's result: `data` as JSON with --json, else the lines. Raises Failed where it cannot be written."""
    text = json.dumps(data, indent=2) if arguments.json else "\n".join(lines())
    with writing():
        if text:
            print(text)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """For what is written to standard output. Raises Failed where it cannot be, BrokenPipeError where nobody reads."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        end_output()
        raise Failed(f"the result cannot be written: {one_line(error.strerror or str(error))}") from error


def note(text: str) -> None:
    """A line for the user beside the result, on standard error."""
    with contextlib.suppress(OSError, ValueError):
        print(one_line(text, 2000), file=sys.stderr, flush=True)


def end_output() -> int:
    """Nobody reads our standard output any more: say nothing else there, and end as failed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as aligned columns; `right` names the columns that are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def counted(number: int, noun: str) -> str:
    """'1 pair', '1,100 pairs'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def amount(number: int) -> str:
    """A large count for a narrow place: 73k, 1.2M."""
    if number < 10_000:
        return f"{number:,}"
    if number < 1_000_000:
        return f"{number / 1000:.0f}k"
    return f"{number / 1e6:.1f}M"


def number(value: float | None) -> str:
    """Four digits, or a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.4g}"
