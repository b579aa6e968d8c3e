"""Open the application straight in the reviewer: one key decides a pair and brings the next."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import stopping
from .output import Failed

EXAMPLE = """
pairsmith review git.pairsmith
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    # Not through `arguments`: what that module imports would come before the first frame.
    parser.add_argument("workspace", metavar="WORKSPACE", type=Path, help="the workspace file")


def run(arguments: Namespace) -> int:
    """Run the reviewer until the user leaves it."""
    if arguments.json:
        raise Failed("the reviewer is a screen: --json means nothing to it", 2, kind="usage")
    with stopping.left_to_others():
        start = importlib.import_module("pairsmith.tui.start")
        return int(start.main(str(arguments.workspace), start="review"))
