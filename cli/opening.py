"""Opening workspaces for commands."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Iterator

from pairsmith.pairs.store.workspace import Workspace, open_workspace


@contextlib.contextmanager
def opened(arguments: Namespace, *, readonly: bool = False) -> Iterator[Workspace]:
    """The workspace that the command names, closed afterwards whatever happens. Raises WorkspaceRefused."""
    workspace = open_workspace(arguments.workspace, readonly=readonly)
    try:
        yield workspace
    finally:
        workspace.close()
