"""What the doctor says about a workspace's file."""

from __future__ import annotations

from collections.abc import Callable

from pairsmith.backends.text import one_line
from pairsmith.pairs.findings import Finding
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.stats import count_verdicts
from pairsmith.pairs.store.workspace import Workspace

from .output import counted

_SHOWN = 10
_RESTORE = "Restore a backup of the workspace"
_ADVICE = {"search": "pairsmith doctor WORKSPACE --rebuild-search makes it anew from the texts"}


def check_file(workspace: Workspace, *, deep: bool, progress: Callable[[int, int], None]) -> list[Finding]:
    """Contents, who is using it, and whether it is whole."""
    pairs = sum(workspace.read(count_verdicts).values())
    size = workspace.path.stat().st_size
    kind = "local-only, " if workspace.local_only else ""
    findings = [
        Finding(
            "workspace",
            "file",
            "good",
            f"{one_line(str(workspace.path))}: {kind}{counted(pairs, 'pair')}, {size / 1e6:.1f} MB",
        )
    ]
    holder = workspace.job_lock.holder()
    if holder is not None:
        findings.append(
            Finding(
                "workspace",
                "job",
                "note",
                f"{one_line(holder.kind)} is running (pid {holder.pid} on {one_line(holder.host)})",
            )
        )
    problems = check_workspace(workspace.path, deep=deep, progress=progress)
    findings += [
        Finding("workspace", one_line(problem.kind), "bad", problem.text, _ADVICE.get(problem.kind, _RESTORE))
        for problem in problems[:_SHOWN]
    ]
    if len(problems) > _SHOWN:
        findings.append(
            Finding("workspace", "problems", "bad", f"and {len(problems) - _SHOWN:,} more: pairsmith verify")
        )
    if not problems:
        checked = (
            "every row against its hash"
            if deep
            else "structure, references and ledgers (--deep: every row too)"
        )
        findings.append(Finding("workspace", "integrity", "good", f"whole: {checked}"))
    return findings
