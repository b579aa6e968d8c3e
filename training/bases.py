"""From the name of a model to its tensors and vocabulary: a path, one of the four sizes, a Hub id, random weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import bpe, hub, vocabulary, weights
from .errors import TrainingError
from .model import GPT2, random_model
from .shapes import GPT2_VOCABULARY, HUB_IDS, SCRATCH, Shape
from .vocabulary import Vocabulary


@dataclass(slots=True)
class Base:
    """A model to start from, with the text side that belongs to it."""

    model: GPT2
    vocabulary: Vocabulary
    name: str
    is_random: bool = False
    style: str | None = None
    """The prompt style that it was trained in, where it says so."""


def default_models_dir() -> Path:
    """Where named models are kept: `PAIRSMITH_HOME/models`, else the user's data folder."""
    home = os.environ.get("PAIRSMITH_HOME")
    if home:
        return Path(home) / "models"
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "pairsmith" / "models"


def locate(
    name: str,
    models_dir: str | None = None,
    offline: bool = False,
    progress: hub.Progress = lambda _name, _done, _total: None,
) -> Path:
    """The folder or file of a named model; downloaded if need be.

    Raises TrainingError: "offline" where that is forbidden, "network" where it fails, "weights" for an unknown name.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    identity = HUB_IDS.get(name, name)
    if not hub.is_id(identity) or path.suffix in (".gguf", ".safetensors", *weights.PICKLED):
        known = ", ".join([*HUB_IDS, *(f"scratch:{size}" for size in SCRATCH)])
        raise TrainingError(
            "weights", f"no model {name!r}", f"Name a folder, a file, owner/name, or one of {known}."
        )
    folder = Path(models_dir) if models_dir else default_models_dir()
    short = next((alias for alias, full in HUB_IDS.items() if full == identity), identity.replace("/", "--"))
    for candidate in (
        folder / short,
        folder / identity.rpartition("/")[2],
        folder / identity.replace("/", "--"),
    ):
        if any((candidate / file).exists() for file in ("model.safetensors", "model.safetensors.index.json")):
            return candidate
    if offline:
        raise TrainingError(
            "offline",
            f"{name} is not in {folder} and may not be downloaded",
            f"Put model.safetensors and config.json of {identity} into {folder / short}, "
            "allow the network, or train from random weights with scratch:tiny.",
        )
    return hub.fetch(identity, folder / short, progress)


def load(
    name: str,
    models_dir: str | None = None,
    offline: bool = False,
    progress: hub.Progress = lambda _name, _done, _total: None,
    seed: int = 123,
) -> Base:
    """A model by name, in fp32 on the CPU. Raises TrainingError."""
    if name.startswith("scratch:"):
        return scratch(name.removeprefix("scratch:"), None, None, seed, ())
    loaded = weights.load(locate(name, models_dir, offline, progress))
    words = loaded.vocabulary or _usual(loaded.model.shape, name)
    if len(words) > loaded.model.shape.vocabulary:
        raise TrainingError(
            "vocabulary",
            f"{name}: {len(words)} tokens in the vocabulary, {loaded.model.shape.vocabulary} in the weights",
        )
    style = loaded.notes.get("prompt_style")
    return Base(loaded.model, words, name, style=style if isinstance(style, str) else None)


def _usual(shape: Shape, name: str) -> Vocabulary:
    if shape.vocabulary < GPT2_VOCABULARY:
        raise TrainingError(
            "vocabulary",
            f"{name}: no vocab.json and merges.txt beside the weights, and {shape.vocabulary} tokens are not GPT-2's",
        )
    return vocabulary.gpt2()


def scratch(
    size: str, shape: dict[str, Any] | None, words: str | None, seed: int, texts: Iterable[str]
) -> Base:
    """Random weights of a named size (or of the given layers, width, heads and context).

    `words` names the vocabulary: "gpt2", "bytes", "train:N" on the texts, or a folder; None is the size's usual one.
    """
    if size not in SCRATCH:
        raise TrainingError("weights", f"no size {size!r}", f"Sizes are: {', '.join(SCRATCH)}.")
    usual = SCRATCH[size]
    chosen = _vocabulary(words or ("train:1024" if size == "tiny" else "gpt2"), texts)
    values = usual.as_json() | (shape or {}) | {"vocabulary": len(chosen)}
    model = random_model(Shape(**values), seed)
    return Base(model, chosen, f"scratch:{size}", is_random=True)


def _vocabulary(name: str, texts: Iterable[str]) -> Vocabulary:
    if name == "gpt2":
        return vocabulary.gpt2()
    if name == "bytes":
        return vocabulary.byte_vocabulary()
    if name.startswith("train:"):
        count = name.removeprefix("train:")
        if not count.isdigit() or not 257 <= int(count) <= 100_000:
            raise TrainingError("config", f"vocabulary: {name!r}: N is from 257 to 100000")
        return bpe.train(texts, int(count))
    folder = Path(name)
    if not (folder / "vocab.json").exists():
        raise TrainingError(
            "vocabulary", f"{name}: neither gpt2, bytes, train:N nor a folder with vocab.json"
        )
    return vocabulary.from_files(folder / "vocab.json", folder / "merges.txt")
