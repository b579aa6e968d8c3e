"""The training loop: a generator of events. Everything that decides the curve is in the checkpoint."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from . import checkpoints, devices, evaluation_loss, gradients, parity, schedule
from .checkpoints import Checkpoint
from .data import Example
from .errors import TrainingError
from .events import Control, Event, event
from .generate import Answer, Cancelled, Sampling, generate
from .gradients import Gradients
from .model import GPT2
from .setup import Job

PER_EPOCH = 4
"""Validations per epoch where the settings do not say."""
FIRST_LOOK = 5
"""Batches of training data whose loss is measured before the first step."""


class Stopped(Exception):
    """The run ends early by wish; `state` says how."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


@dataclass(slots=True)
class Progress:
    """Counters and the curve so far, as the checkpoint's `state.json` holds them."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    """Steps done in the running epoch."""
    drawn: bool = False
    """Whether the running epoch has begun: its order is drawn, its end not yet reported."""
    tokens_seen: int = 0
    train_seconds: float = 0.0
    elapsed: float = 0.0
    window_loss: float = 0.0
    window_tokens: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    losses: list[float] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)


class Loop:
    """One run of `Job`; iterate `events()`."""

    def __init__(self, job: Job, control: Control, resumed: Checkpoint | None) -> None:
        self.job = job
        self.control = control
        self.order = schedule.Order(job.config.seed)
        self.gradients = Gradients(job)
        self.now = Progress()
        self.resumed_order: list[int] | None = None
        self.last_checkpoint = time.monotonic()
        self.saved_step: int | None = None
        if resumed is not None:
            self._restore(resumed)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.job.device.device

    def events(self) -> Iterator[Event]:
        """Train to the end. Raises Stopped (paused, cancelled, stopped_early) and TrainingError."""
        job, now = self.job, self.now
        if now.step == 0 and not now.validations:
            yield from self._validate(first=True)
            yield from self._sample()
        if now.step == 0 and not now.drawn:
            self.order.reset(job.config.seed)
        while now.step < job.steps or now.drawn:
            order = self.resumed_order
            self.resumed_order = None
            if order is None:
                order = self.order.start_epoch(len(job.examples["train"]))
                now.position, now.drawn = 0, True
            yield from self._epoch(order)
            yield from self._end_of_epoch()

    def _epoch(self, order: list[int]) -> Iterator[Event]:
        job, now = self.job, self.now
        train = job.examples["train"]
        coming = range(now.position * job.group, min(len(order), job.steps_per_epoch * job.group), job.group)
        started = time.perf_counter()
        self.gradients.prepare(
            [[train[i] for i in order[k : k + job.group]] for k in coming[: gradients.LOOKED_AT]]
        )
        now.elapsed += time.perf_counter() - started
        while now.position < job.steps_per_epoch and now.step < job.steps:
            self._obey_cancel()
            chosen = order[now.position * job.group : (now.position + 1) * job.group]
            yield self._step([train[index] for index in chosen])
            while self.gradients.notes:
                yield event("warning", kind="cuda_graph", message=self.gradients.notes.pop(0))
            yield from self._after_step()

    def _after_step(self) -> Iterator[Event]:
        job, now = self.job, self.now
        last_of_epoch = now.position == job.steps_per_epoch
        if self._validation_due() and not (last_of_epoch and not job.config.parity):
            yield from self._validate()
            self._check_early_stop()
        every = job.config.checkpoint_every
        minutes = job.config.checkpoint_minutes
        late = minutes and time.monotonic() - self.last_checkpoint > 60 * minutes
        asked, pause = self._told(self.control.checkpoint), self._told(self.control.pause)
        if asked or pause or late or (every and now.step % every == 0):
            self.control.checkpoint.clear()
            if now.step < job.steps or pause:
                yield from self.checkpoint(ending=pause)
        if pause:
            raise Stopped("paused")

    def _end_of_epoch(self) -> Iterator[Event]:
        job, now = self.job, self.now
        if not job.config.parity:
            yield from self._validate()
        yield from self._sample()
        now.epoch += 1
        now.drawn = False
        self._check_early_stop()
        if now.step < job.steps and not job.config.checkpoint_every:
            yield from self.checkpoint()

    def _step(self, examples: list[Example]) -> Event:
        job, now = self.job, self.now
        started = time.perf_counter()
        labels = sum(example.labels for example in examples)
        loss = self.gradients.of(examples, max(1, labels))
        if not math.isfinite(loss):
            raise TrainingError(
                "not_finite",
                f"the loss of step {now.step + 1} is not a finite number: nothing was learnt from that step",
                "Lower learning_rate, set clip_norm to 1, or precision to fp32; the newest checkpoint is sound.",
            )
        norm, scale = None, 1.0
        if job.config.clip_norm is not None:
            norm = job.optimiser.norm()
            scale = min(1.0, job.config.clip_norm / (norm + 1e-6))
        rate = schedule.learning_rate(job.config, now.step + 1, job.steps)
        if labels:
            job.optimiser.step(rate, scale)
        self._synchronise()
        seconds = time.perf_counter() - started
        now.step += 1
        now.position += 1
        now.tokens_seen += labels
        now.window_loss += loss * labels
        now.window_tokens += labels
        now.train_seconds += seconds
        now.elapsed += seconds
        now.losses.append(loss)
        return self._step_event(loss, rate, norm, labels)

    def _step_event(self, loss: float, rate: float, norm: float | None, labels: int) -> Event:
        job, now = self.job, self.now
        done = now.step / max(1, job.steps)
        return event(
            "step",
            step=now.step,
            steps=job.steps,
            epoch=round(now.step / job.steps_per_epoch, 4),
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens=labels,
            tokens_seen=now.tokens_seen,
            tokens_per_s=round(now.tokens_seen / max(now.train_seconds, 1e-9), 1),
            elapsed_s=round(now.elapsed, 3),
            eta_s=round(now.elapsed / done - now.elapsed, 1),
            memory_mb=devices.used_memory(self.device) >> 20,
        )

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _obey_cancel(self) -> None:
        if self._told(self.control.cancel):
            raise Stopped("cancelled")

    def _told(self, flag: threading.Event) -> bool:
        """Whether a flag is set in any process: all must do the same."""
        return self.job.world.total(float(flag.is_set()), self.device) > 0

    def _validation_due(self) -> bool:
        job, now = self.job, self.now
        if job.config.parity:
            return (now.step - 1) % parity.EVERY == 0
        every = job.config.validate_every
        if every is None:
            every = max(1, job.steps_per_epoch // PER_EPOCH)
        return bool(every) and now.step % every == 0

    def _validate(self, first: bool = False) -> Iterator[Event]:
        job, now = self.job, self.now
        started = time.perf_counter()
        model, examples = job.model, job.examples
        if job.config.parity:
            if first:
                self.order.reset(job.config.seed)
            losses = parity.evaluate(model, examples["train"], examples["validation"], self.order)
            train_loss, validation_loss = losses
        else:
            validation_loss = evaluation_loss.mean(model, examples["validation"], self._look_up)
            if first:
                train_loss = evaluation_loss.mean(
                    model, examples["train"][: FIRST_LOOK * job.group], self._look_up
                )
            else:
                train_loss = now.window_loss / now.window_tokens if now.window_tokens else None
        now.window_loss, now.window_tokens = 0.0, 0
        now.elapsed += time.perf_counter() - started if not first else 0.0
        better = self._note_best(validation_loss)
        point = {
            "step": now.step,
            "epoch": round(now.step / job.steps_per_epoch, 4),
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "tokens_seen": now.tokens_seen,
            "best": better,
        }
        now.validations.append(point)
        yield event("validation", **point)
        if better and job.config.early_stop and job.world.rank == 0:
            yield from self._keep_best()

    def _note_best(self, loss: float | None) -> bool:
        now = self.now
        if loss is None or not math.isfinite(loss):
            return False
        if now.best is None or loss < now.best - self.job.config.early_stop_delta:
            now.best, now.best_step, now.stale = loss, now.step, 0
            return True
        now.stale += 1
        return False

    def _check_early_stop(self) -> None:
        patience = self.job.config.early_stop
        if patience and self.now.stale >= patience:
            raise Stopped("stopped_early")

    def _sample(self) -> Iterator[Event]:
        job, now = self.job, self.now
        pairs = job.pairs["validation"] or job.pairs["train"]
        if not job.config.sample_tokens or job.world.rank:
            return
        started = time.perf_counter()
        pair = pairs[0]
        prompt = job.style.prompt(pair.instruction, pair.input)
        ids = job.vocabulary.encode(prompt)[-(job.model.shape.context - 1) :]
        text = ""
        if ids:
            merged = merged_model(job)
            sampling = Sampling(job.config.sample_tokens)
            answer = self._generated(merged, ids, sampling)
            text = job.vocabulary.decode(answer.tokens)
        now.elapsed += time.perf_counter() - started if now.step else 0.0
        yield event(
            "sample",
            step=now.step,
            epoch=round(now.step / job.steps_per_epoch, 4),
            id=pair.id,
            prompt=prompt,
            expected=pair.output,
            text=job.style.response(text),
        )

    def _generated(self, model: GPT2, ids: list[int], sampling: Sampling) -> Answer:
        words = self.job.vocabulary
        try:
            return generate(
                model, [ids], words.end_of_text, sampling, len(words), stop=self.control.cancel.is_set
            )[0]
        except Cancelled:
            raise Stopped("cancelled") from None

    def _look_up(self, _done: int) -> None:
        """Between the batches of a long evaluation: stop if told to."""
        if self.job.world.size == 1 and self.control.cancel.is_set():
            raise Stopped("cancelled")

    def checkpoint(self, ending: bool = False) -> Iterator[Event]:
        """Write a checkpoint; a full disk is a warning. `ending`: nothing is trained after it."""
        job, now = self.job, self.now
        self.last_checkpoint = time.monotonic()
        if job.world.rank or self.saved_step == now.step:
            return
        started = time.perf_counter()
        try:
            path = checkpoints.write(
                job.folder / "checkpoints", self._checkpoint(), job.config.keep_checkpoints
            )
        except OSError as error:
            so = "training goes on, earlier checkpoints are sound"
            if ending:
                so = (
                    f"what came after step {self.saved_step or 0} is computed again when the run is continued"
                )
            message = f"no checkpoint at step {now.step}: {error.strerror or error}; {so}"
            yield event("warning", kind="disk_full", message=message)
            return
        self.saved_step = now.step
        size = sum(item.stat().st_size for item in path.iterdir())
        seconds = round(time.perf_counter() - started, 3)
        yield event("checkpoint", step=now.step, path=str(path), seconds=seconds, bytes=size)

    def _keep_best(self) -> Iterator[Event]:
        """Early stopping publishes the best weights, so they are kept on disk."""
        job = self.job
        best = Checkpoint(self.now.step, job.trained, {}, {"step": self.now.step}, {})
        try:
            checkpoints.write(job.folder / "checkpoints" / "best", best, 1)
        except OSError as error:
            yield event("warning", kind="disk_full", message=f"the best weights could not be kept: {error}")

    def _checkpoint(self) -> Checkpoint:
        job = self.job
        state = asdict(self.now) | {"identity": job.identity, "threads": torch.get_num_threads()}
        random = {
            "random.order": self.order.before,
            "random.draws": self.order.generator.get_state(),
            "random.torch": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            random["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return Checkpoint(self.now.step, job.trained, job.optimiser.state(), state, random)

    def _restore(self, saved: Checkpoint) -> None:
        job = self.job
        checkpoints.check_identity(saved, job.identity)
        with torch.no_grad():
            for name, tensor in job.trained.items():
                tensor.copy_(saved.tensors[name])
        job.optimiser.refresh()
        job.optimiser.restore(saved.optimiser)
        values = {name: saved.state[name] for name in asdict(self.now)}
        self.now = Progress(**values)
        count = len(job.examples["train"])
        if not self.now.drawn:
            self.order.generator.set_state(saved.random["random.draws"])
        else:
            self.resumed_order = self.order.resume_epoch(
                count, saved.random["random.order"], saved.random["random.draws"]
            )
        torch.set_rng_state(saved.random["random.torch"])
        if "random.cuda" in saved.random and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved.random["random.cuda"], self.device)
        self.saved_step = saved.step


def merged_model(job: Job) -> GPT2:
    """The model with its LoRA added in, for generation; the model itself where there is none."""
    if not job.model.lora:
        return job.model
    merged = GPT2(job.model.shape, {name: tensor.detach() for name, tensor in job.model.merged().items()})
    merged.use(job.device.dtype)
    return merged
