"""Which GGUF files are on this machine, and which of them a name means. A bounded look, never a full scan."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import NoSuchModel
from ..protocol import ModelInfo
from ..text import one_line

EMBEDDED = "embedded"
EMBEDDED_ELSEWHERE = "PAIRSMITH_EMBEDDED_MODEL"
"""Names another GGUF in place of the one that ships, for those who make it and for tests."""
_MOST_FILES, _MOST_FOLDERS, _DEEPEST, _SECONDS = 500, 4000, 6, 1.5
_LATER_PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
_OLLAMA_MODEL = "application/vnd.ollama.image.model"


def resolve(model: str, home: Path | None, env: Mapping[str, str]) -> Path:
    """The file that `model` names. Raises `NoSuchModel` with what there is instead."""
    if model == EMBEDDED:
        return _embedded(env)
    path = Path(model).expanduser()
    if path.exists() or path.suffix == ".gguf" or ("/" in model and path.is_absolute()):
        if not path.exists():
            raise NoSuchModel(
                f"The model file {one_line(model)} does not exist", advice="Give the path of a GGUF file."
            )
        return path.resolve()
    found = find_files(home, env)
    for name, file in found.items():
        if model in (name, name.removesuffix(":latest"), file.stem, file.name):
            return file.resolve()
    offer = ", ".join(one_line(name, 60) for name in list(found)[:5])
    raise NoSuchModel(
        f"No GGUF model is called {one_line(model, 80)!r}",
        advice=f"Found: {offer}." if offer else "Give the path of a GGUF file.",
    )


def _embedded(env: Mapping[str, str]) -> Path:
    elsewhere = env.get(EMBEDDED_ELSEWHERE) or os.environ.get(EMBEDDED_ELSEWHERE)
    shipped = importlib.resources.files("pairsmith.assets").joinpath("embedded.gguf")
    file = Path(elsewhere or str(shipped))
    if not file.is_file():
        raise NoSuchModel(
            "This copy of Pairsmith comes without the embedded model",
            advice="Name a GGUF file: llama-cpp:/path/to/model.gguf, or another backend.",
        )
    return file.resolve()


def find_models(home: Path | None, env: Mapping[str, str]) -> list[ModelInfo]:
    """Everything that `llama-cpp:` can name here, the embedded model first."""
    models = []
    with contextlib.suppress(NoSuchModel):
        models.append(
            ModelInfo(
                EMBEDDED,
                "chat",
                _embedded(env).stat().st_size,
                description="demonstration model, shipped with Pairsmith: Git commands only",
            )
        )
    for name, path in find_files(home, env).items():
        try:
            models.append(
                ModelInfo(name, "chat", path.stat().st_size, description=one_line(str(path.parent), 120))
            )
        except OSError:
            continue
    return models


def find_files(home: Path | None, env: Mapping[str, str]) -> dict[str, Path]:
    """Name -> file, from our own folder, the Hugging Face cache, LM Studio and Ollama."""
    ends = time.monotonic() + _SECONDS
    user = Path(env.get("HOME") or Path.home())
    hub = env.get("HF_HUB_CACHE") or os.path.join(
        env.get("HF_HOME") or user / ".cache" / "huggingface", "hub"
    )
    folders = [Path(hub), user / ".lmstudio" / "models", user / ".cache" / "lm-studio" / "models"]
    if home is not None:
        folders.insert(0, home / "models")
    found: dict[str, Path] = {}
    for folder in folders:
        for path in _ggufs(folder, ends):
            found.setdefault(_unused(path.stem, path, found), path)
            if len(found) >= _MOST_FILES:
                return found
    for name, path in _ollama(Path(env.get("OLLAMA_MODELS") or user / ".ollama" / "models"), ends):
        found.setdefault(name, path)
    return found


def _unused(name: str, path: Path, found: Mapping[str, Path]) -> str:
    """Two files of one name are told apart by their folder."""
    return name if name not in found else f"{path.parent.name}/{name}"


def _ggufs(folder: Path, ends: float) -> Iterator[Path]:
    """GGUF files under a folder, no deeper and no longer than is decent."""
    todo, seen = [(folder, 0)], 0
    while todo and seen < _MOST_FOLDERS and time.monotonic() < ends:
        here, depth = todo.pop()
        seen += 1
        try:
            entries = sorted(os.scandir(here), key=lambda e: e.name)
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith(".gguf") and entry.is_file():
                part = _LATER_PART.search(entry.name)
                if "mmproj" not in entry.name and (not part or part[1] == "00001"):
                    yield Path(entry.path)
            elif depth < _DEEPEST and entry.is_dir(follow_symlinks=False) and entry.name != "blobs":
                todo.append((Path(entry.path), depth + 1))


def _ollama(folder: Path, ends: float) -> Iterator[tuple[str, Path]]:
    """Models that Ollama has pulled: its blobs are GGUF files, its manifests say which."""
    root = folder / "manifests"
    todo = [root]
    while todo and time.monotonic() < ends:
        here = todo.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
            elif blob := _model_blob(folder, Path(entry.path)):
                yield f"{here.name}:{entry.name}", blob


def _model_blob(folder: Path, manifest: Path) -> Path | None:
    try:
        if manifest.stat().st_size > 1 << 20:
            return None
        layers = json.loads(manifest.read_text("utf-8"))["layers"]
        digest = next(str(x["digest"]) for x in layers if x["mediaType"] == _OLLAMA_MODEL)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        return None
    blob = folder / "blobs" / digest.replace(":", "-")
    return blob if blob.is_file() else None
