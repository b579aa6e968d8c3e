"""Do the act again that was undone last."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .arguments import add_workspace
from .undo import move

EXAMPLE = """
pairsmith redo git.pairsmith
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)


def run(arguments: Namespace) -> int:
    """Redo one act."""
    return move(arguments, forward=True)
