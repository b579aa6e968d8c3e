"""Every backend, key, device and file: what state it is in, and what to do about it."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pairsmith.pairs.backend_checks import check_backends, check_models
from pairsmith.pairs.findings import Finding
from pairsmith.pairs.machine_checks import check_machine
from pairsmith.pairs.store.integrity import rebuild_search_index
from pairsmith.pairs.store.workspace import Workspace, open_workspace

from .arguments import path
from .doctor_report import finding_lines
from .environment import Environment, add_backend_arguments, read_environment
from .output import Failed, say
from .progress import progress

EXAMPLE = """
pairsmith doctor
pairsmith doctor git.pairsmith --deep
pairsmith doctor git.pairsmith --rebuild-search
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("workspace", nargs="?", metavar="WORKSPACE", type=path, help="check this one too")
    parser.add_argument(
        "--deep", action="store_true", help="also read every row of the workspace against its hash"
    )
    parser.add_argument(
        "--rebuild-search", action="store_true", help="first make the workspace's search index anew"
    )
    parser.add_argument("--no-self-test", action="store_true", help="leave out the decode test of llama.cpp")
    add_backend_arguments(parser)


def run(arguments: Namespace) -> int:
    """Look at everything; exit code 1 where the workspace, or the models it names, cannot be used as they are.

    Raises WorkspaceRefused where the workspace cannot be opened at all.
    """
    for option in ("deep", "rebuild_search"):
        if getattr(arguments, option) and arguments.workspace is None:
            raise Failed(f"--{option.replace('_', '-')} needs a WORKSPACE", 2, kind="usage")
    if arguments.rebuild_search:
        with open_workspace(arguments.workspace) as opened:
            opened.write(rebuild_search_index)
    workspace = None if arguments.workspace is None else open_workspace(arguments.workspace, readonly=True)
    try:
        environment = read_environment(arguments, workspace)
        findings = _all(arguments, workspace, environment)
    finally:
        if workspace is not None:
            workspace.close()
    data = {
        "ok": not any(finding.state == "bad" for finding in findings),
        "findings": [finding.as_json() for finding in findings],
    }
    say(arguments, lambda: finding_lines(findings), data)
    return 0 if data["ok"] else 1


def _all(arguments: Namespace, workspace: Workspace | None, environment: Environment) -> Sequence[Finding]:
    findings = check_machine(environment)
    findings += asyncio.run(check_backends(environment, self_test=not arguments.no_self_test))
    if workspace is not None:
        from .doctor_workspace import check_file

        findings += asyncio.run(check_models(workspace, environment))
        with progress("check", unit="rows") as bar:
            findings += check_file(workspace, deep=arguments.deep, progress=bar.update)
    return findings
