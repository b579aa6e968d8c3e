"""From a run's folder to everything that a training loop needs; nothing is trained yet."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import bases, config, data, devices, hub, lora
from .batches import Packed, pack
from .config import Config
from .data import Example, Pair
from .distributed import World
from .errors import TrainingError
from .model import GPT2, with_head
from .optimiser import AdamW, Rates
from .prompts import STYLES, Style
from .vocabulary import Vocabulary

FILES = ("train", "validation", "test")
_FREE = {
    *("models_dir", "offline", "device", "threads", "sample_tokens", "accumulate", "cuda_graph"),
    *("checkpoint_every", "checkpoint_minutes", "keep_checkpoints"),
}
"""Settings that may differ when a run is continued: none changes the curve (two of them: but for rounding)."""


@dataclass(slots=True)
class Job:
    """A run that is ready to start."""

    folder: Path
    config: Config
    model: GPT2
    vocabulary: Vocabulary
    style: Style
    pairs: dict[str, list[Pair]]
    examples: dict[str, list[Example]]
    device: devices.Device
    world: World
    optimiser: AdamW
    trained: dict[str, torch.Tensor]
    base_is_random: bool
    identity: dict[str, Any]
    """What must be equal for a checkpoint to be continued."""
    max_length: int
    notes: list[str] = field(default_factory=list)

    @property
    def group(self) -> int:
        """Examples of one optimiser step, over all processes."""
        return self.config.batch_size * self.world.size

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one pass over the training data."""
        count = len(self.examples["train"])
        return count // self.group if self.config.drop_last else -(-count // self.group)

    @property
    def steps(self) -> int:
        """Planned optimiser steps."""
        planned = self.steps_per_epoch * self.config.epochs
        return min(planned, self.config.max_steps or planned)

    def slices(self, chosen: list[Example]) -> list[Packed]:
        """This process's share of a step's examples, packed, in as many slices as asked for."""
        mine = chosen[self.world.rank :: self.world.size]
        size = max(1, -(-len(mine) // self.config.accumulate))
        parts = [mine[start : start + size] for start in range(0, len(mine), size)]
        return [pack(part).to(self.device.device) for part in parts]


def prepare(
    folder: Path,
    progress: hub.Progress = lambda _name, _done, _total: None,
    train: bool = True,
    threads: int | None = None,
) -> Job:
    """Read a run's folder and build its model and optimiser. Raises TrainingError.

    `threads` are those that an interrupted run was computed with: with others the last digits differ.
    """
    settings = config.read(folder / "config.json")
    world = World()
    pairs = {name: data.read_pairs(folder / f"{name}.jsonl", name == "train") for name in FILES}
    style = STYLES[settings.prompt_style]
    base = _base(folder, settings, pairs["train"], style, progress)
    model = _with_head(base.model, settings)
    threads = settings.threads or threads
    device = devices.choose(settings.device, settings.precision, threads, model.shape.parameters)
    world.start(device.device)
    max_length = min(settings.max_length, model.shape.context)
    examples = {
        name: data.examples(items, base.vocabulary, style, max_length, settings.mask_instructions)
        for name, items in pairs.items()
    }
    _check_examples(examples["train"], settings, world)
    torch.manual_seed(settings.seed)
    model = model.to(device.device)
    model.use(device.dtype)
    model.dropout = settings.dropout
    trained = dict(model.tensors)
    if settings.lora_rank:
        alpha = settings.lora_alpha or float(settings.lora_rank)
        trained = lora.attach(model, settings.lora_rank, alpha, settings.seed)
    rates = Rates(settings.weight_decay, settings.betas, settings.epsilon)
    identity = _identity(folder, settings, model, world, device) if train else {}
    optimiser = AdamW(model, rates, device.dtype, trained, alone=world.size == 1)
    if not settings.lora_rank:
        trained = dict(model.tensors)
    job = Job(
        folder,
        settings,
        model,
        base.vocabulary,
        style,
        pairs,
        examples,
        device,
        world,
        optimiser,
        trained,
        base.is_random,
        identity,
        max_length,
    )
    job.notes = _notes(job)
    return job


def _base(
    folder: Path, settings: Config, pairs: list[Pair], style: Style, progress: hub.Progress
) -> bases.Base:
    if settings.scratch is None:
        return bases.load(settings.base, settings.models_dir, settings.offline, progress)
    words = settings.vocabulary
    kept = folder / "vocabulary"
    if (kept / "vocab.json").exists() and (kept / "merges.txt").exists():
        words = str(kept)
    texts = (style.text(pair.instruction, pair.input, pair.output) for pair in pairs)
    base = bases.scratch(settings.scratch, settings.shape, words, settings.seed, texts)
    if base.vocabulary.name not in ("gpt2", "bytes") and not kept.exists():
        partial = folder / f"vocabulary.{os.getpid()}.tmp"
        base.vocabulary.save(partial)
        try:
            partial.rename(kept)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            if not kept.exists():
                raise  # else another process of this run was first, with the same vocabulary
    return base


def _with_head(model: GPT2, settings: Config) -> GPT2:
    if settings.tied_head is None:
        return model
    try:
        return with_head(model, settings.tied_head)
    except ValueError as error:
        raise TrainingError(
            "config", f"config.json: tied_head: {error}", "Set it to false, or leave it out."
        ) from error


def _check_examples(examples: list[Example], settings: Config, world: World) -> None:
    group = settings.batch_size * world.size
    if settings.drop_last and len(examples) < group:
        raise TrainingError(
            "data",
            f"train.jsonl: {len(examples)} pairs do not fill one batch of {group}",
            "Lower batch_size, or set drop_last to false.",
        )
    if not any(example.labels for example in examples):
        raise TrainingError(
            "data",
            "train.jsonl: no token is left to learn",
            "Raise max_length, or do not mask the instructions.",
        )


def _identity(
    folder: Path, settings: Config, model: GPT2, world: World, device: devices.Device
) -> dict[str, Any]:
    """Everything that decides the curve. Pauses, limits and places are not part of it."""
    values = {name: value for name, value in settings.as_json().items() if name not in _FREE}
    values |= {f"shape.{name}": value for name, value in dataclasses.asdict(model.shape).items()}
    for name in ("train", "validation"):
        path = folder / f"{name}.jsonl"
        content = path.read_bytes() if path.exists() else b""
        values[f"{name}.jsonl"] = hashlib.sha256(content).hexdigest()
    values |= {"processes": world.size, "computed in": device.precision}
    values["start"] = _fingerprint(model)
    return values


def _fingerprint(model: GPT2) -> str:
    """A short sign of the weights that a run starts from."""
    digest = hashlib.sha256()
    for tensor in model.tensors.values():
        flat = tensor.detach().flatten()
        digest.update(flat[:: max(1, flat.numel() // 64)].cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _notes(job: Job) -> list[str]:
    notes = list(job.device.notes)
    if job.base_is_random:
        notes.append(
            f"{job.config.base} starts from random weights: it knows nothing but what these pairs teach. "
            "Expect no general ability."
        )
    if job.max_length < job.config.max_length:
        notes.append(f"examples are cut at {job.max_length} tokens, the model's context")
    cut = sum(example.cut > 0 for example in job.examples["train"])
    if cut:
        notes.append(
            f"{cut} of {len(job.examples['train'])} training examples are longer than that and are cut"
        )
    if job.vocabulary.name == "own":
        notes.append(f"the vocabulary of {len(job.vocabulary)} tokens was made from the training pairs")
    return notes
