"""What is shown of one training run: gathered from the events of a job, or read from the workspace and its folder."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairsmith.pairs.chosen_pairs import verdicts_said
from pairsmith.pairs.training_events import (
    Fetching,
    TrainingPlanned,
    TrainingSample,
    TrainingSaved,
    TrainingStarted,
    TrainingStep,
    TrainingValidation,
)

from ..widgets.curve import Series
from ..widgets.meters import amount

if TYPE_CHECKING:
    from pairsmith.pairs.events import Event
    from pairsmith.pairs.store.runs import Run

KEPT_SAMPLES = 200


@dataclass(slots=True)
class Curves:
    """Losses by step, and what the model answered on the way. `validations`: (step, loss)."""

    losses: Series = field(default_factory=Series)
    validations: list[tuple[float, float]] = field(default_factory=list)
    samples: deque[TrainingSample] = field(default_factory=lambda: deque(maxlen=KEPT_SAMPLES))

    def forget_after(self, step: int) -> None:
        """A run that goes on from a checkpoint makes the steps behind it again."""
        self.losses.forget_after(step)
        self.validations = [one for one in self.validations if one[0] <= step]
        self.samples = deque((one for one in self.samples if one.step <= step), KEPT_SAMPLES)

    @property
    def best(self) -> tuple[float, float] | None:
        """(step, loss) of the least validation loss."""
        return min(self.validations, key=lambda one: one[1], default=None)


def curves_of(result: Mapping[str, Any]) -> Curves:
    """The curves that a run left behind (`pairs.training_result`); what is no number is left out."""
    found = Curves()
    for step, loss in result.get("losses") or ():
        found.losses.append(int(step), _number(loss))
    for point in result.get("validations") or ():
        loss = _number(point[3])
        if loss is not None:
            found.validations.append((int(point[0]), loss))
    for sample in result.get("samples") or ():
        texts = {key: str(sample.get(key) or "") for key in ("prompt", "expected", "text")}
        found.samples.append(TrainingSample(int(sample.get("step") or 0), **texts))
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


@dataclass(slots=True)
class TrainWatch:
    """The training job of this start of the application."""

    base: str
    epochs: int = 0
    curves: Curves = field(default_factory=Curves)
    planned: TrainingPlanned | None = None
    started: TrainingStarted | None = None
    step: TrainingStep | None = None
    saved: TrainingSaved | None = None
    fetching: Fetching | None = None
    cancel: Callable[[], None] | None = None
    """Ends the job at once."""
    name: str = "Train"
    place: str = "train"
    pausing: str = "a checkpoint is written first"
    stopping: str = "a checkpoint is written first"

    @property
    def progress(self) -> tuple[int | None, int | None]:
        """Steps."""
        if self.step is not None:
            return self.step.step, self.step.steps
        return None, None

    @property
    def minutes_left(self) -> float | None:
        """Of the training itself."""
        return None if self.step is None or self.step.eta_s is None else self.step.eta_s / 60

    def take(self, event: Event) -> None:
        """Remember it."""
        if isinstance(event, TrainingStep):
            self.step, self.fetching = event, None
            self.curves.losses.append(event.step, event.loss)
        elif isinstance(event, TrainingValidation):
            if event.validation_loss is not None:
                kept = [one for one in self.curves.validations if one[0] != event.step]
                self.curves.validations = [*kept, (event.step, event.validation_loss)]
        elif isinstance(event, TrainingSample):
            self.curves.samples.append(event)
        elif isinstance(event, TrainingStarted):
            self.started, self.fetching = event, None
            self.curves.forget_after(event.resumed_from or 0)
        elif isinstance(event, TrainingPlanned):
            self.planned = event
        elif isinstance(event, TrainingSaved):
            self.saved = event
        elif isinstance(event, Fetching):
            self.fetching = event


@dataclass(frozen=True, slots=True)
class RunView:
    """One run on the screen. `figures`: (name, value) beside the curve."""

    title: str
    curves: Curves
    status: str = ""
    good: bool | None = None
    device: str = ""
    steps: int = 0
    progress: str = ""
    done: float = 0.0
    figures: Sequence[tuple[str, str]] = ()
    told: Sequence[str] = ()


def loss_said(value: float | None) -> str:
    """Three decimals."""
    return "–" if value is None else f"{value:.3f}"


def view_of_watch(watch: TrainWatch, status: str, good: bool | None, told: Sequence[str]) -> RunView:
    """The job that runs, or that ran last in this application."""
    started, step, planned = watch.started, watch.step, watch.planned
    title = _title(watch.base, planned) if planned is not None else f"{watch.base}: starting"
    progress = "starting: the pairs are split, the model is loaded"
    if watch.fetching is not None:
        here = watch.fetching
        progress = f"bringing {here.file}: {here.done >> 20:,} of {here.total >> 20:,} MB"
    steps = step.steps if step is not None else started.steps if started is not None else 0
    if step is not None:
        epoch = max(1, math.ceil(step.epoch))
        of = f"/{watch.epochs}" if watch.epochs else ""
        progress = (
            f"epoch {epoch}{of} · step {step.step:,}/{step.steps:,} · {step.tokens_per_s:,.0f} tokens/s"
        )
    elif started is not None and watch.fetching is None:
        progress = f"step 0/{started.steps:,}"
    device = started.device if started is not None else ""
    return RunView(
        title, watch.curves, status, good, device, steps, progress,
        step.step / step.steps if step is not None and step.steps else 0.0,
        _live_figures(watch), told,
    )  # fmt: skip


def _title(base: str, planned: TrainingPlanned) -> str:
    if planned.resumed:
        return f"{base}, run {planned.run_id} goes on"
    sides = " · ".join(f"{count:,} {side}" for side, count in planned.sides.items())
    return f"{base} on {verdicts_said(planned.pairs, planned.verdicts)} ({sides})"


def _live_figures(watch: TrainWatch) -> list[tuple[str, str]]:
    curves, step, started = watch.curves, watch.step, watch.started
    found = _losses(curves)
    if step is not None:
        if step.memory_mb:
            free = started.memory_free_mb if started is not None else None
            of = f" of {(free + step.memory_mb) / 1024:.1f}" if free else ""
            found.append(("memory", f"{step.memory_mb / 1024:.1f}{of} GB"))
        found.append(("rate", f"{step.learning_rate:.1e}"))
    if started is not None:
        random = " RANDOM" if started.base_is_random else ""
        found.append(("weights", f"{amount(started.parameters)}{random}"))
        found.append(("precision", started.precision))
    if watch.saved is not None:
        found.append(("saved", f"step {watch.saved.step:,}"))
    return found


def _losses(curves: Curves) -> list[tuple[str, str]]:
    last = curves.losses.values[-1] if len(curves.losses) else None
    found = [("train ─", loss_said(last))]
    if curves.validations:
        found.append(("validation ∘", loss_said(curves.validations[-1][1])))
        step, loss = curves.best or curves.validations[-1]
        found.append(("best", f"{loss_said(loss)}   step {step:,.0f}"))
    return found


def view_of_run(run: Run, result: Mapping[str, Any], status: str, good: bool | None) -> RunView:
    """A run of the past."""
    curves = curves_of(result)
    config = run.settings.get("config") or {}
    steps = int(result.get("steps") or 0)
    step = int(result.get("step") or 0)
    figures = _losses(curves)
    if result.get("tokens_per_s"):
        figures.append(("tokens/s", f"{float(result['tokens_per_s']):,.0f}"))
    if result.get("peak_memory_mb"):
        figures.append(("memory", f"{float(result['peak_memory_mb']) / 1024:.1f} GB"))
    if result.get("minutes") is not None:
        figures.append(("minutes", f"{float(result['minutes']):.2f}"))
    if config.get("learning_rate"):
        figures.append(("rate", f"{float(config['learning_rate']):.1e}"))
    if result.get("parameters"):
        random = " RANDOM" if result.get("base_is_random") else ""
        figures.append(("weights", f"{amount(int(result['parameters']))}{random}"))
    counts = result.get("examples") or {}
    sides = " · ".join(f"{count:,} {side}" for side, count in counts.items())
    title = f"run {run.id}: {run.settings.get('base')}" + (f" ({sides})" if sides else "")
    return RunView(
        title, curves, status, good, str(result.get("device") or ""), steps,
        f"step {step:,}/{steps:,}" if steps else "", step / steps if steps else 0.0, figures,
    )  # fmt: skip


def result_of_run(home: Path, workspace_id: str, run: Run) -> Mapping[str, Any]:
    """What a run left, in the workspace or, where the application died over it, in its folder (blocking)."""
    if run.result:
        return run.result
    from pairsmith.pairs.training_folder import folder_of
    from pairsmith.pairs.training_result import result_of

    return result_of(folder_of(home, workspace_id, run.uid), None)
