"""Check that everything is as it was written: a workspace (every row against its hash, the file's structure, the
ledgers), or an export against its manifest."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from pairsmith.backends.text import one_line
from pairsmith.pairs.store.integrity import Problem, check_workspace
from pairsmith.pairs.verify_export import is_export, verify_export

from .arguments import path
from .output import Failed, counted, fail, say
from .progress import progress
from .stopping import graceful

EXAMPLE = """
pairsmith verify git.pairsmith
pairsmith verify git.jsonl
"""
_SHOWN = 50


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "workspace",
        metavar="WORKSPACE|EXPORT",
        type=path,
        help="a workspace, or an export",
    )


def run(arguments: Namespace) -> int:
    """Check, reading only. Exit code 1 where anything is wrong. Raises WorkspaceRefused where it is no workspace."""
    checked = 0
    with graceful() as stop, progress("verify", unit="rows") as bar:

        def report(done: int, total: int) -> None:
            nonlocal checked
            checked = done
            stop.check()
            bar.update(done, total)

        if sealed := _exported(arguments.workspace):
            found = verify_export(arguments.workspace, progress=report)
            checked, problems = found.rows, found.problems
        else:
            problems = check_workspace(arguments.workspace, progress=report)
    data = {"ok": not problems, "rows": checked, "problems": [asdict(problem) for problem in problems]}
    name = one_line(str(arguments.workspace))
    say(arguments, lambda: _lines(name, checked, problems), data)
    if problems:
        failure = Failed(
            f"{name}: {counted(len(problems), 'problem')}",
            1,
            advice="Export again" if sealed else "Restore a backup, or correct them",
        )
        return fail(failure, json_wanted=False)
    return 0


def _exported(place: Path) -> bool:
    """Whether this is an export rather than a workspace, sound or not."""
    if is_export(place):
        return True
    known = (".json", ".jsonl", ".csv", ".parquet")
    return place.is_file() and place.suffix in known


def _lines(name: str, checked: int, problems: list[Problem]) -> list[str]:
    if not problems:
        return [f"{name}: {counted(checked, 'row')}, all as written"]
    lines = [f"{problem.kind}: {one_line(problem.text, 300)}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"and {len(problems) - _SHOWN:,} more (--json names all)")
    return lines
