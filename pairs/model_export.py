"""A trained model for other tools: files by the child, or a model in a running Ollama."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsmith.backends.registry import Settings
from pairsmith.backends.text import one_line

from .errors import PairsmithError, UsageError
from .published import sweep
from .store.publish import temporary_name
from .training_child import TrainingChild

FORMATS = ("safetensors", "gguf-f32", "gguf-f16", "gguf-q8_0", "ollama")
Told = Callable[[str, int, int], None]
"""Hears (what is done, how much of it, of how much)."""


@dataclass(frozen=True, slots=True)
class Modelfile:
    """What Ollama must know of a model besides its weights."""

    template: str
    parameters: dict[str, Any]


async def export_model(
    model: Path, target: Path, format_: str, name: str, told: Told = lambda what, done, total: None
) -> list[Path]:
    """Write a model folder in one of FORMATS; the files. Raises UsageError for a bad place, TrainingFailed."""
    check_place(target, format_)
    made = not target.exists()
    arguments = ["export", model, "--to", target, "--format", format_, "--name", name, "--parent-pipe"]
    files: list[Path] = []
    try:
        async with contextlib.aclosing(TrainingChild([*arguments, "--device", "cpu"]).events()) as events:
            async for event in events:
                if event["event"] == "progress":
                    told("writing", int(event.get("done") or 0), int(event.get("total") or 0))
                elif event["event"] == "done":
                    files = [Path(str(path)) for path in event.get("files") or ()]
    except BaseException:
        _take_back(target, format_, name, made)
        raise
    return files


def _take_back(target: Path, format_: str, name: str, made: bool) -> None:
    """A child that is stopped ends at once, in the middle of a file: what it had begun goes, and if it had to be made
    the folder, unless there is something in it."""
    if format_ == "ollama":
        sweep(target / "model.gguf")
        if made:
            with contextlib.suppress(OSError):
                target.rmdir()
    elif target.is_dir() and format_ != "safetensors":
        sweep(target / f"{name}.gguf")
    elif made or target.exists():
        # else it was stopped between the two renames of a replacement, and the older copy has a temporary name
        sweep(target)


def check_place(target: Path, format_: str) -> None:
    """Refuse places that an export would harm. Raises UsageError."""
    shown = one_line(str(target))
    if format_ not in FORMATS:
        raise UsageError(f"{one_line(format_)} is not a format", f"Formats: {', '.join(FORMATS)}")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {one_line(str(target.absolute().parent))}", "Make it first")
    if format_ in ("safetensors", "ollama"):
        if target.exists() and not target.is_dir():
            raise UsageError(f"{shown} is a file, and {format_} needs a folder", "Name a folder")
    elif target.is_file():
        with contextlib.suppress(OSError), target.open("rb") as file:
            start = file.read(16)
            if start[:4] != b"GGUF" and start:
                raise UsageError(f"{shown} is not a GGUF file and is not replaced", "Name another file")


async def create_in_ollama(
    model: Path, name: str, settings: Settings, work: Path, told: Told = lambda what, done, total: None
) -> None:
    """Make a model of this name in the running Ollama. `work`: a folder on a disk with room for the weights.

    Raises BackendError (not started, not reachable), TrainingFailed.
    """
    from pairsmith.backends.ollama import open_ollama
    from pairsmith.backends.ollama_library import PullProgress

    backend = open_ollama(name, settings)
    place = temporary_name(work / "ollama")
    try:
        await backend.models()  # before the work: is it there at all?
        place.mkdir(parents=True)
        files = await export_model(model, place, "ollama", _plain(name), told)
        weights = next(path for path in files if path.suffix == ".gguf")
        modelfile = read_modelfile((place / "Modelfile").read_text(encoding="utf-8"))

        def report(progress: PullProgress) -> None:
            told(progress.status, progress.completed, progress.total)

        await backend.create_model(
            name,
            weights,
            template=modelfile.template,
            parameters=modelfile.parameters,
            on_progress=report,
        )
    finally:
        await backend.close()
        shutil.rmtree(place, ignore_errors=True)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


def read_modelfile(text: str) -> Modelfile:
    """Template and parameters of a Modelfile that we wrote. Raises PairsmithError where there is no template."""
    template = re.search(r'^TEMPLATE """(.*?)"""$', text, re.M | re.S)
    if template is None:
        raise PairsmithError("the Modelfile holds no template")
    parameters: dict[str, Any] = {}
    for line in text[template.end() :].splitlines():
        found = re.fullmatch(r'PARAMETER (\w+) (?:"(.*)"|(\S+))', line)
        if found is None:
            continue
        key, value = found[1], found[2] if found[2] is not None else _number(found[3])
        if key == "stop":
            parameters.setdefault("stop", []).append(value)
        else:
            parameters[key] = value
    return Modelfile(template[1], parameters)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
