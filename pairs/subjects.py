"""Whose answers an evaluation measures: our tuned model, its base, another run (the child answers), a backend."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .answer_judging import HeldOut
from .control import Control
from .errors import PairsmithError
from .store.held_out import pairs_by_uid
from .store.workspace import Workspace
from .training_child import TrainingChild, models_folder
from .training_folder import read_items

Told = Callable[[str, int, int], None]
"""Hears (what is done, how much of it, of how much)."""


@dataclass(slots=True)
class Subject:
    """Somebody whose answers are measured: `answers` and `failures` by pair id; `items` and `report` of the child."""

    name: str
    answers: dict[int, str] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    def missing(self, pair_id: int) -> str | None:
        """Why there is no answer to a pair; None where there is one."""
        if pair_id in self.answers:
            return None
        return f"no answer: {self.failures.get(pair_id, 'none was given')}"


@dataclass(frozen=True, slots=True)
class Measuring:
    """How the child answers and where it finds models. `token`: the Hub's, where it may download."""

    home: Path
    max_new_tokens: int = 256
    device: str = "auto"
    choices: Path | None = None
    offline: bool = False
    token: str | None = None


async def held_out_items(workspace: Workspace, folder: Path, *, may_be_none: bool) -> list[HeldOut]:
    """The test pairs of a run as it was given them. Raises PairsmithError where there are none, or not these."""
    try:
        rows = await asyncio.to_thread(read_items, folder / "test.jsonl")
    except (OSError, ValueError) as error:
        raise PairsmithError(f"the run's test.jsonl cannot be read: {one_line(str(error))}") from error
    if not rows and not may_be_none:
        raise PairsmithError(
            "the run has no test pairs: its data set was too small",
            "Train on more pairs, or give --choices FILE",
        )
    uids = [str(row.get("id")) for row in rows]
    known = await workspace.aread(lambda conn: pairs_by_uid(conn, uids))
    missing = len(set(uids)) - len(known)
    if missing:
        raise PairsmithError(f"{missing} test pairs of this run are not in this workspace", "Train again")
    texts = ("instruction", "input", "output")
    return [
        HeldOut(known[uid], uid, *(str(row.get(name) or "") for name in texts))
        for uid, row in zip(uids, rows, strict=True)
    ]


async def measure(
    folder: Path, name: str, model: str | None, how: Measuring, total: int, control: Control, told: Told
) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The child's report and items for one subject on the folder's test pairs; None where the user stopped it.

    `model` None is the run's own, "base" what it started from. An earlier evaluation of the same model with the same
    settings is taken as it is. Raises TrainingFailed, PairsmithError.
    """
    path = folder / "evaluation" / f"{file_name(name)}.json"
    report = await asyncio.to_thread(_kept, path, folder, how, total)
    if report is None:
        report = await _ask_child(folder, name, model, how, total, control, told)
    if not report:
        return None
    try:
        return report, await asyncio.to_thread(read_items, path.with_suffix(".jsonl"))
    except (OSError, ValueError) as error:
        raise PairsmithError(f"what was measured cannot be read: {one_line(str(error))}") from error


def file_name(subject: str) -> str:
    """The name of a subject's files."""
    return subject.replace(" ", "-")


def _kept(path: Path, folder: Path, how: Measuring, count: int) -> dict[str, Any] | None:
    if how.choices is not None:
        return None
    try:
        if path.stat().st_mtime < (folder / "model" / "model.safetensors").stat().st_mtime:
            return None
        report = json.loads(path.read_text(encoding="utf-8"))
        same = (
            report["n"] == count
            and report["generation"]["max_new_tokens"] == how.max_new_tokens
            and report["generation"]["temperature"] == 0
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if same else None


async def _ask_child(
    folder: Path, name: str, model: str | None, how: Measuring, total: int, control: Control, told: Told
) -> dict[str, Any]:
    arguments: list[object] = ["evaluate", folder, "--parent-pipe", "--name", file_name(name)]
    arguments += [*(["--model", model] if model else []), "--device", how.device]
    arguments += ["--models-dir", models_folder(how.home), "--max-new-tokens", how.max_new_tokens]
    arguments += ["--choices", how.choices] if how.choices else []
    arguments += ["--offline"] if how.offline else []
    child = TrainingChild(arguments, token=how.token)
    report: dict[str, Any] = {}
    stopping = asyncio.create_task(_stop(child, control))
    try:
        async with contextlib.aclosing(child.events()) as events:
            async for event in events:
                if event["event"] == "progress" and event.get("unit") in ("responses", "questions"):
                    what = "answering" if event["unit"] == "responses" else "choosing"
                    told(what, int(event.get("done") or 0), int(event.get("total") or total))
                elif event["event"] == "done" and isinstance(event.get("report"), dict):
                    report = event["report"]
    finally:
        stopping.cancel()
    return report


async def _stop(child: TrainingChild, control: Control) -> None:
    while not control.stopping:
        await control.change()
    await child.send("cancel")
