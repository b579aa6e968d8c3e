"""What a training or evaluation tells whoever watches, as plain values.

The child's own words are in docs/training.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TrainingPlanned:
    """A training run is stored and its folder written; the child starts next."""

    run_id: int
    folder: Path
    resumed: bool
    pairs: int
    verdicts: Mapping[str, int]
    sides: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    """The child is ready. `device` is the one really used; memory in MB."""

    run_id: int
    device: str
    precision: str
    base: str
    base_is_random: bool
    parameters: int
    trainable: int
    examples: Mapping[str, int]
    truncated: Mapping[str, int]
    truncated_tokens: int
    steps: int
    steps_per_epoch: int
    tokens_per_epoch: int
    resumed_from: int | None
    memory_needed_mb: int | None
    memory_free_mb: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One optimiser step. Losses are natural-log, mean per label token; None where it was not finite."""

    step: int
    steps: int
    epoch: float
    loss: float | None
    learning_rate: float
    tokens_seen: int
    tokens_per_s: float
    elapsed_s: float
    eta_s: float | None
    memory_mb: int | None


@dataclass(frozen=True, slots=True)
class TrainingValidation:
    """Losses at a step (0: before the first one)."""

    step: int
    epoch: float
    train_loss: float | None
    validation_loss: float | None
    tokens_seen: int
    best: bool


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """What the model answers to one pair at this step. Untrusted text."""

    step: int
    prompt: str
    expected: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingSaved:
    """A checkpoint is on the disk."""

    step: int
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Fetching:
    """A base model is being downloaded; bytes."""

    file: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Evaluating:
    """How far one part of an evaluation is: `what` is answering, judging or comparing; `subject`, whose answers."""

    what: str
    subject: str
    done: int
    total: int
    failed: int = 0


TrainingEvent = (
    TrainingPlanned
    | TrainingStarted
    | TrainingStep
    | TrainingValidation
    | TrainingSample
    | TrainingSaved
    | Fetching
    | Evaluating
)


def read_training_event(run_id: int, event: Mapping[str, Any]) -> TrainingEvent | None:
    """A line of the child as an event of the job; None for what is not for the watcher. Fields it lacks are empty."""
    name = event.get("event")
    if name == "started":
        return TrainingStarted(
            run_id=run_id,
            device=str(event.get("device", "")),
            precision=str(event.get("precision", "")),
            base=str(event.get("base", "")),
            base_is_random=bool(event.get("base_is_random")),
            parameters=int(event.get("parameters") or 0),
            trainable=int(event.get("trainable") or 0),
            examples=dict(event.get("examples") or {}),
            truncated=dict(event.get("truncated") or {}),
            truncated_tokens=int(event.get("truncated_tokens") or 0),
            steps=int(event.get("steps") or 0),
            steps_per_epoch=int(event.get("steps_per_epoch") or 0),
            tokens_per_epoch=int(event.get("tokens_per_epoch") or 0),
            resumed_from=event.get("resumed_from"),
            memory_needed_mb=event.get("memory_needed_mb"),
            memory_free_mb=event.get("memory_free_mb"),
            notes=tuple(map(str, event.get("notes") or ())),
        )
    if name == "step":
        return TrainingStep(
            step=int(event["step"]),
            steps=int(event.get("steps") or 0),
            epoch=float(event.get("epoch") or 0.0),
            loss=event.get("loss"),
            learning_rate=float(event.get("learning_rate") or 0.0),
            tokens_seen=int(event.get("tokens_seen") or 0),
            tokens_per_s=float(event.get("tokens_per_s") or 0.0),
            elapsed_s=float(event.get("elapsed_s") or 0.0),
            eta_s=event.get("eta_s"),
            memory_mb=event.get("memory_mb"),
        )
    if name == "validation":
        return TrainingValidation(
            step=int(event["step"]),
            epoch=float(event.get("epoch") or 0.0),
            train_loss=event.get("train_loss"),
            validation_loss=event.get("validation_loss"),
            tokens_seen=int(event.get("tokens_seen") or 0),
            best=bool(event.get("best")),
        )
    return _other(event)


def _other(event: Mapping[str, Any]) -> TrainingEvent | None:
    name = event.get("event")
    if name == "sample":
        texts = {key: str(event.get(key, "")) for key in ("prompt", "expected", "text")}
        return TrainingSample(int(event["step"]), **texts)
    if name == "checkpoint":
        return TrainingSaved(
            int(event["step"]), float(event.get("seconds") or 0.0), int(event.get("bytes") or 0)
        )
    if name == "progress" and event.get("unit") == "bytes":
        return Fetching(str(event.get("file", "")), int(event.get("done") or 0), int(event.get("total") or 0))
    return None
