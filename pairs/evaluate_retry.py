"""Asking a judge again where it failed: an evaluation that is done goes on, and pays for nothing that it was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import UsageError
from .evaluate_options import EvaluateOptions
from .store.driver import sqlite3
from .store.runs import get_run, set_state


def failed_calls(result: Mapping[str, Any]) -> int:
    """How many questions of an evaluation's result have no answer: gradings, comparisons, answers of a backend."""
    judged = (result.get("judge") or {}).get("subjects") or {}
    compared = result.get("pairwise") or {}
    reports = (result.get("subjects") or {}).values()
    return sum(int(found.get("failed") or 0) for found in (*judged.values(), compared, *reports))


def reopen(conn: sqlite3.Connection, evaluation: int) -> EvaluateOptions:
    """Make an evaluation unfinished; a job with these options goes on with it and asks only what failed.

    Raises UsageError where nothing failed, or where it was started with what only the shell can give again.
    """
    run = get_run(conn, evaluation)
    if run.kind != "evaluate" or not failed_calls(run.result or {}):
        raise UsageError("no call of this evaluation failed", "There is nothing to ask again")
    settings = run.settings
    if settings.get("choices"):
        raise UsageError(
            "this evaluation was started with --choices FILE",
            "In the shell: pairsmith evaluate with it again",
        )
    if run.state == "done":
        set_state(conn, evaluation, "unfinished", "the calls that failed are asked again")
    return EvaluateOptions(
        run=str(settings["train_run"]),
        judge=settings.get("judge"),
        explain=bool(settings.get("explain")),
        against=settings.get("against"),
        base=bool(settings.get("base", True)),
        max_new_tokens=int(settings.get("max_new_tokens") or 256),
    )
