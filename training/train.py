"""`train FOLDER`: prepare, train, publish; every failure becomes an `error` event with advice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from . import atomic, checkpoints, config, devices, export_safetensors, parity
from .data import Example
from .errors import TrainingError
from .events import Control, Event, event
from .loop import Loop, Stopped
from .setup import Job, prepare


def run(
    folder: Path, resume: bool, control: Control, emit: Callable[[Event], None] = lambda _event: None
) -> Iterator[Event]:
    """The events of a run, `started` to `done`; `emit` takes a download's progress, which comes before.

    Raises TrainingError; out-of-memory is translated into one.
    """
    if not (folder / "config.json").exists():
        raise TrainingError("config", f"{folder}: no config.json in it")
    for place in (folder, folder / "checkpoints", folder / "checkpoints" / "best"):
        atomic.sweep(place)
    before = _finished(folder) if resume else None
    if before is not None:
        yield before
        return
    saved = checkpoints.newest(folder / "checkpoints")
    if saved is not None and not resume:
        raise TrainingError(
            "checkpoint",
            f"{folder.name}: there is a checkpoint at step {saved.step}",
            "Continue it with --resume, or start in a new folder.",
        )
    threads = saved.state.get("threads") if saved else None

    def fetching(name: str, done: int, total: int) -> None:
        emit(event("progress", verb="fetch", file=name, done=done, total=total, unit="bytes"))
        if control.cancel.is_set() or control.pause.is_set():
            raise Stopped("cancelled" if control.cancel.is_set() else "paused")

    try:
        job = prepare(folder, fetching, threads=threads)
    except Stopped as stopped:  # what has arrived of the base is kept
        yield event("done", verb="train", state=stopped.state, step=0, model=None)
        return
    try:
        loop = Loop(job, control, saved)
        yield started(job, saved.step if saved else None)
        yield from _truncated(job)
        yield from _train(job, loop)
    except (MemoryError, RuntimeError) as error:
        if not devices.is_out_of_memory(error):
            raise
        raise _out_of_memory(job) from error
    finally:
        job.world.stop()


def _train(job: Job, loop: Loop) -> Iterator[Event]:
    state = "finished"
    try:
        yield from loop.events()
    except Stopped as stopped:
        state = stopped.state
    if state in ("paused", "cancelled"):
        yield _done(job, loop, state, None)
        return
    path = job.folder / "model"
    done = _done(job, loop, state, path)
    if job.world.rank == 0:
        publish(job, loop, path, state, done)
    yield done


def started(job: Job, resumed_from: int | None) -> Event:
    """What is about to happen, with the device that is really used."""
    labels = [example.labels for example in job.examples["train"]]
    return event(
        "started",
        verb="train",
        device=job.device.label,
        precision=job.device.precision,
        base=job.config.base,
        base_is_random=job.base_is_random,
        parameters=job.model.shape.parameters,
        trainable=sum(tensor.numel() for tensor in job.trained.values()),
        shape=job.model.shape.as_json(),
        examples={name: len(items) for name, items in job.examples.items()},
        truncated={name: sum(item.cut > 0 for item in items) for name, items in job.examples.items()},
        truncated_tokens=sum(item.cut for items in job.examples.values() for item in items),
        epochs=job.config.epochs,
        steps=job.steps,
        steps_per_epoch=job.steps_per_epoch,
        tokens_per_epoch=sum(labels),
        resumed_from=resumed_from,
        memory_needed_mb=needed(job) >> 20,
        memory_free_mb=devices.free_memory(job.device.device) >> 20,
        bf16_speedup=round(job.device.bf16_speedup, 2) if job.device.bf16_speedup else None,
        world_size=job.world.size,
        notes=job.notes,
    )


def needed(job: Job) -> int:
    """Estimated bytes of the run, at its longest batch."""
    per_slice = max(1, -(-job.config.batch_size // job.config.accumulate))
    lengths = sorted((len(item.inputs) for item in job.examples["train"]), reverse=True)[:per_slice]
    trained = sum(tensor.numel() for tensor in job.trained.values())
    return devices.needed_memory(job.model.shape, lengths, job.device.dtype, trained)


def _truncated(job: Job) -> Iterator[Event]:
    cut = [item for items in job.examples.values() for item in items if item.cut]
    if cut:
        yield event(
            "warning",
            kind="truncated",
            message=f"{len(cut)} examples are longer than {job.max_length} tokens; "
            f"{sum(item.cut for item in cut)} tokens are cut off, and those examples do not teach when to stop",
        )


def _finished(folder: Path) -> Event | None:
    """The `done` event of a run whose result was published before, if its settings are still the folder's."""
    if atomic.check_manifest(folder / "model") is None:
        return None
    wanted = config.read(folder / "config.json")
    try:
        notes = json.loads((folder / "model" / "pairsmith.json").read_text(encoding="utf-8"))
        same = config.parse(notes["config"]) == wanted
        done: Event = notes["done"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TrainingError):
        return None
    return done if same else None


def publish(job: Job, loop: Loop, target: Path, state: str, done: Event) -> None:
    """Write the result as a model folder: the last weights, or under early stopping the best. Raises TrainingError."""
    now = loop.now
    best = checkpoints.newest(job.folder / "checkpoints" / "best") if job.config.early_stop else None
    if best is not None:
        with torch.no_grad():
            for name, tensor in job.trained.items():
                tensor.copy_(best.tensors[name])
    tensors = {name: tensor.detach() for name, tensor in job.model.merged().items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                "not_finite", f"{name} holds numbers that are not finite: nothing is published"
            )
    notes: dict[str, Any] = {
        "prompt_style": job.config.prompt_style,
        "base": job.config.base,
        "base_is_random": job.base_is_random,
        "step": best.step if best else now.step,
        "state": state,
        "config": job.config.as_json(),
        "done": done,
    }
    curve = {"losses": now.losses, "validations": now.validations}
    export_safetensors.write(target, job.model.shape, tensors, job.vocabulary, notes, {"losses.json": curve})


def _done(job: Job, loop: Loop, state: str, model: Path | None) -> Event:
    now = loop.now
    last: dict[str, Any] = now.validations[-1] if now.validations else {}
    fields: dict[str, Any] = {
        "verb": "train",
        "state": state,
        "step": now.step,
        "model": str(model) if model else None,
        "train_loss": last.get("train_loss"),
        "validation_loss": last.get("validation_loss"),
        "best_step": now.best_step,
        "minutes": round(now.elapsed / 60, 4),
        "tokens_seen": now.tokens_seen,
        "tokens_per_s": round(now.tokens_seen / max(now.train_seconds, 1e-9), 1),
        "peak_memory_mb": devices.peak_memory(job.device.device) >> 20,
        "device": job.device.label,
    }
    if job.config.parity:
        fields["table"] = parity.table(
            (job.config.prompt_style, job.config.mask_instructions, job.config.lora_rank),
            {name: len(items) for name, items in job.examples.items()},
            (job.model.shape.parameters, sum(tensor.numel() for tensor in job.trained.values())),
            now.validations,
            now.elapsed / 60,
        )
    return event("done", **fields)


def _out_of_memory(job: Job) -> TrainingError:
    need, have = needed(job) >> 20, devices.free_memory(job.device.device) >> 20
    settings = job.config
    advice = []
    if settings.accumulate < settings.batch_size:
        more = min(settings.batch_size, settings.accumulate * 2)
        advice.append(f"Set accumulate to {more}: the same steps, computed in smaller slices.")
    advice += [
        f"Lower max_length (now {job.max_length}); the longest training example has {_longest(job.examples['train'])}.",
        "Take a smaller base, or lora_rank 16, which needs no optimiser memory for the frozen weights.",
        "Unload models that Ollama or another worker holds on this device.",
    ]
    return TrainingError(
        "oom",
        f"out of memory on {job.device.label}: needs about {need} MB, {have} MB free",
        "\n".join(advice),
    )


def _longest(examples: list[Example]) -> int:
    return max((len(example.inputs) for example in examples), default=0)
