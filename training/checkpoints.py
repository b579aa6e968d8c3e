"""Checkpoints: safetensors and JSON in a folder with a manifest, published by one rename; the newest whole counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from . import atomic
from .errors import TrainingError

VERSION = 1
_NAME = "step-"


@dataclass(slots=True)
class Checkpoint:
    """What is needed to go on as if nothing had happened."""

    step: int
    tensors: dict[str, torch.Tensor]
    """The trained tensors, by our names."""
    optimiser: dict[str, torch.Tensor]
    state: dict[str, Any]
    """Plain values: place in the data, counters, the curve so far, and `identity` (what must be equal to resume)."""
    random: dict[str, torch.Tensor]
    """States of the random generators."""


def write(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Publish a checkpoint and remove all but the `keep` newest.

    Raises OSError (a full disk; nothing is left of the new one) and TrainingError("not_finite").
    """
    for name, tensor in checkpoint.tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                "not_finite", f"{name} holds numbers that are not finite: no checkpoint is written"
            )
    target = folder / f"{_NAME}{checkpoint.step:08d}"
    with atomic.folder(target, {"version": VERSION, "step": checkpoint.step}) as partial:
        _save(partial / "model.safetensors", checkpoint.tensors)
        _save(partial / "optimizer.safetensors", checkpoint.optimiser | checkpoint.random)
        state = json.dumps(checkpoint.state, allow_nan=False)
        (partial / "state.json").write_text(state, encoding="utf-8")
    # a higher step is no newer one where it was left by a run that was begun again: the one just written stays
    others = sorted(path for path in folder.glob(f"{_NAME}*") if path != target)
    for old in others[: max(0, len(others) - (keep - 1))]:
        atomic.remove(old)
    return target


def _save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(path))
    except Exception as error:
        # safetensors wraps the operating system's error into its own
        if isinstance(error, OSError):
            raise
        text = str(error)
        if "os error" in text.lower() or "No space" in text or "too large" in text.lower():
            raise OSError(text) from error
        raise


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files all have the size and SHA-256 of its manifest; None if there is none."""
    for path in sorted(folder.glob(f"{_NAME}*"), reverse=True):
        manifest = atomic.check_manifest(path)
        if manifest is None:
            continue
        if manifest.get("version") != VERSION:
            raise TrainingError(
                "checkpoint",
                f"{path.name}: written by another version of pairsmith ({manifest.get('version')!r})",
                "Continue with that version, or start anew.",
            )
        return _read(path)
    return None


def _read(path: Path) -> Checkpoint:
    tensors = load_file(str(path / "model.safetensors"))
    rest = load_file(str(path / "optimizer.safetensors"))
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    random = {name: tensor for name, tensor in rest.items() if name.startswith("random.")}
    optimiser = {name: tensor for name, tensor in rest.items() if name not in random}
    return Checkpoint(int(state["step"]), tensors, optimiser, state, random)


def check_identity(checkpoint: Checkpoint, wanted: dict[str, Any]) -> None:
    """Refuse to continue something else. Raises TrainingError("checkpoint") naming the first difference."""
    found = checkpoint.state.get("identity", {})
    for name in sorted(set(found) | set(wanted)):
        if found.get(name) != wanted.get(name):
            raise TrainingError(
                "checkpoint",
                f"the checkpoint was made with {name} = {found.get(name)!r}, the run has {wanted.get(name)!r}",
                "Restore the old settings and data, or start a new run.",
            )
