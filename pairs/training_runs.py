"""Runs of training: which one a name means, where its folder lies, what it is called in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import PairsmithError, UsageError
from .store.driver import sqlite3
from .store.runs import Run, list_runs
from .store.workspace import Workspace
from .training_folder import folder_of


def find_run(conn: sqlite3.Connection, name: str | None) -> Run:
    """The training run of a number or the beginning of a uid; None: the newest that is done. Raises UsageError."""
    runs = list_runs(conn, "train")
    if not runs:
        raise UsageError("nothing was trained in this workspace yet", "pairsmith train does it")
    if name is None:
        done = next((run for run in runs if run.state == "done"), None)
        if done is None:
            raise UsageError(
                "no training run is done yet", "Go on with the unfinished one: pairsmith train --resume"
            )
        return done
    text = name.strip().lower()
    for run in runs:
        if text == str(run.id) or (len(text) >= 4 and run.uid.startswith(text)):
            return run
    known = ", ".join(f"{run.id} ({run.state})" for run in runs[:5])
    raise UsageError(f"there is no training run {one_line(name, 40)!r} here", f"Runs: {known}")


def run_folder_of(home: Path, workspace: Workspace, run: Run) -> Path:
    """A run's folder. Raises PairsmithError where it is not on this machine."""
    folder = folder_of(home, workspace.id, run.uid)
    if not folder.is_dir():
        raise PairsmithError(
            f"the folder of training run {run.id} is not on this machine: {one_line(str(folder))}",
            "A workspace holds everything but model weights: bring the folder here, or train again",
        )
    return folder


def tuned_model_of(home: Path, workspace: Workspace, run: Run) -> Path:
    """The folder of a run's published model. Raises PairsmithError where there is none."""
    model = run_folder_of(home, workspace, run) / "model"
    if not (model / "model.safetensors").is_file():
        raise PairsmithError(
            f"training run {run.id} ({run.state}) has published no model yet",
            "Go on with it: pairsmith train --resume",
        )
    return model


def base_of(run: Run) -> str:
    """What a run started from, as the user named it."""
    return str(run.settings.get("base", ""))


def config_of(run: Run) -> Mapping[str, Any]:
    """The fields of `config.json` that were asked for."""
    config = run.settings.get("config")
    return config if isinstance(config, dict) else {}
