"""Copy a workspace to a new file, in use or not: one moment of it, checked before it gets its name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pairsmith.backends.text import one_line
from pairsmith.pairs.store.backup import backup_workspace

from .arguments import add_workspace, path
from .output import say
from .progress import progress
from .stopping import graceful

EXAMPLE = """
pairsmith backup git.pairsmith git-2026-11-21.pairsmith
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("path", metavar="PATH", type=path, help="the new file; nothing is overwritten")


def run(arguments: Namespace) -> int:
    """Copy and check. Raises WorkspaceRefused, WorkspaceExists, DiskFull; then no copy is left."""
    with graceful() as stop, progress("backup", unit="pages") as bar:

        def report(done: int, total: int) -> None:
            stop.check()
            bar.update(done, total)

        copied = backup_workspace(arguments.workspace, arguments.path, report)
    pairs = copied.rows.get("pair", 0)
    say(
        arguments,
        lambda: [f"{one_line(str(copied.path))}: {copied.size:,} bytes, {pairs:,} pairs stored, checked"],
        {"path": str(copied.path), "bytes": copied.size, "rows": copied.rows},
    )
    return 0
