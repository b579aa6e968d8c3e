"""Write a trained model for other tools: safetensors, GGUF, or a model of Ollama. Without --to, list the runs."""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.model_export import FORMATS, create_in_ollama, export_model
from pairsmith.pairs.store.runs import Run, list_runs
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.training_runs import base_of, find_run, run_folder_of, tuned_model_of

from .arguments import add_workspace, expanded
from .environment import Environment, read_environment
from .opening import opened
from .output import Failed, number, say, table
from .progress import Progress, progress

EXAMPLE = """
pairsmith model git.pairsmith --run 3 --to git.gguf --format gguf-q8_0
pairsmith model git.pairsmith --run 3 --to git-model --format safetensors
pairsmith model git.pairsmith --run 3 --to git-helper --format ollama
pairsmith model git.pairsmith
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("--run", metavar="ID", help="which training run; default: the newest that is done")
    parser.add_argument(
        "--to",
        metavar="PATH",
        help="file (GGUF) or folder; with --format ollama a NAME makes the model in the running Ollama",
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="default: by PATH: gguf-f16 for .gguf, else safetensors"
    )
    parser.add_argument("--env-file", metavar="PATH", help="read OLLAMA_HOST from this .env file")


def run(arguments: Namespace) -> int:
    """Export, or list. Raises UsageError, TrainingFailed, BackendError; then an older file is as it was."""
    with opened(arguments, readonly=True) as workspace:
        environment = read_environment(arguments, workspace)
        if arguments.to is None:
            if arguments.run is not None or arguments.format is not None:
                raise Failed("where to is not said", 2, advice="Give --to PATH", kind="usage")
            return _list(arguments, workspace, environment)
        found = workspace.read(lambda conn: find_run(conn, arguments.run))
        home = environment.settings.home
        model = tuned_model_of(home, workspace, found)
        format_ = arguments.format or ("gguf-f16" if arguments.to.endswith(".gguf") else "safetensors")
        data: dict[str, Any] = {"run": found.id, "format": format_}
        with progress("model", unit="tensors") as bar:
            told = _told(bar)
            if format_ == "ollama" and not _is_place(arguments.to):
                work = run_folder_of(home, workspace, found)
                asyncio.run(create_in_ollama(model, arguments.to, environment.settings, work, told))
                data |= {"name": arguments.to, "use": f"ollama:{arguments.to}"}
            else:
                target = expanded(arguments.to)
                files = asyncio.run(export_model(model, target, format_, _name_for(target, found), told))
                data |= {"files": [str(path) for path in files], "bytes": sum(map(_size, files))}
                weights = next((path for path in files if path.suffix == ".gguf"), None)
                if weights is not None:
                    data["use"] = f"llama-cpp:{weights}"
    say(arguments, lambda: _lines(data), data)
    return 0


def _told(bar: Progress) -> Any:
    return lambda what, done, total: bar.update(done, total or None, what)


def _is_place(text: str) -> bool:
    """Whether --to means a folder rather than a name in Ollama."""
    return os.sep in text or text.startswith((".", "~")) or Path(text).is_dir()


def _name_for(target: Path, found: Run) -> str:
    return target.stem or f"pairsmith-run-{found.id}"


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size


def _lines(data: dict[str, Any]) -> list[str]:
    lines = [f"run {data['run']} as {data['format']}:"]
    if "files" in data:
        lines = [f"run {data['run']} as {data['format']}, {data['bytes'] / 1e6:,.1f} MB:"]
        lines += [f"  {one_line(path, 500)}" for path in data["files"]]
    if "use" in data:
        lines.append(f"talk to it: pairsmith chat {one_line(data['use'], 500)}")
    if data["format"] == "ollama" and "files" in data:
        lines.append(f"give it to Ollama: ollama create NAME -f {one_line(data['files'][-1], 500)}")
    return lines


def _list(arguments: Namespace, workspace: Workspace, environment: Environment) -> int:
    runs = workspace.read(lambda conn: list_runs(conn, "train"))
    rows, data = [], []
    for found in runs:
        result = found.result or {}
        try:
            place = str(tuned_model_of(environment.settings.home, workspace, found))
        except PairsmithError:
            place = ""
        item = {
            "run": found.id,
            "state": found.state,
            "base": base_of(found),
            "started_at": found.started_at,
            "train_loss": result.get("train_loss"),
            "validation_loss": result.get("validation_loss"),
            "model": place or None,
        }
        data.append(item)
        rows.append(
            (
                str(found.id),
                found.state,
                one_line(base_of(found), 60),
                found.started_at[:16].replace("T", " "),
                number(item["train_loss"]),  # type: ignore[arg-type]
                number(item["validation_loss"]),  # type: ignore[arg-type]
                one_line(place, 300) or "no model",
            )
        )
    head = ("run", "state", "base", "started", "training loss", "validation loss", "model")
    nothing = ["nothing was trained here yet: pairsmith train does it"]
    say(arguments, lambda: table([head, *rows]) if rows else nothing, {"runs": data})
    return 0
