"""A training run as it is shown in a terminal: a bar with losses and speed, and lines that stay."""

from __future__ import annotations

from pairsmith.backends.text import one_line
from pairsmith.pairs.chosen_pairs import verdicts_said
from pairsmith.pairs.events import Event, Notice
from pairsmith.pairs.training_events import (
    Fetching,
    TrainingPlanned,
    TrainingSample,
    TrainingSaved,
    TrainingStarted,
    TrainingStep,
    TrainingValidation,
)

from .output import amount
from .progress import Progress

_SHOWN = 160


class TrainingShow:
    """Call it with every event."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._validation: float | None = None
        self._stepped = False

    def __call__(self, event: Event) -> None:
        """Show what is worth showing."""
        bar = self._bar
        if isinstance(event, TrainingStep):
            self._step(event)
        elif isinstance(event, TrainingValidation):
            self._validation = event.validation_loss
            bar.say(
                f"step {event.step:,}: training loss {_loss(event.train_loss)},"
                f" validation loss {_loss(event.validation_loss)}"
                + (" (best so far)" if event.best and event.step else "")
            )
        elif isinstance(event, TrainingSample):
            asked = event.prompt.rsplit("### Instruction:\n", 1)[-1].removeprefix("<|user|>\n")
            bar.say(f"  asked:    {one_line(asked, _SHOWN)}")
            bar.say(f"  expected: {one_line(event.expected, _SHOWN)}")
            bar.say(f"  answers:  {one_line(event.text, _SHOWN)}")
        elif isinstance(event, TrainingPlanned):
            self._planned(event)
        elif isinstance(event, TrainingStarted):
            self._started(event)
        elif isinstance(event, Fetching):
            bar.update(0, None, f"{one_line(event.file, 60)}: {event.done >> 20:,}/{event.total >> 20:,} MB")
        elif isinstance(event, TrainingSaved):
            bar.update(bar.done, None, f"checkpoint at step {event.step:,}")
        elif isinstance(event, Notice):
            bar.say(event.text)

    def _step(self, event: TrainingStep) -> None:
        if not self._stepped:
            self._stepped = True
            self._bar.restart(event.step - 1)
        parts = [f"loss {_loss(event.loss)}"]
        if self._validation is not None:
            parts.append(f"validation {_loss(self._validation)}")
        parts.append(f"{amount(round(event.tokens_per_s))} tokens/s")
        if event.memory_mb:
            parts.append(f"{event.memory_mb:,} MB")
        self._bar.update(event.step, event.steps, ", ".join(parts))

    def _planned(self, event: TrainingPlanned) -> None:
        if event.resumed:
            self._bar.say(f"going on with training run {event.run_id}")
            return
        sides = ", ".join(f"{count:,} {side}" for side, count in event.sides.items())
        self._bar.say(
            f"training run {event.run_id} on {verdicts_said(event.pairs, event.verdicts)} ({sides})"
        )

    def _started(self, event: TrainingStarted) -> None:
        random = " (RANDOM weights)" if event.base_is_random else ""
        self._bar.say(
            f"{one_line(event.base, 80)}{random}: {amount(event.parameters)} parameters,"
            f" {amount(event.trainable)} trained, on {one_line(event.device, 80)}, {one_line(event.precision, 20)}"
        )
        memory = ""
        if event.memory_needed_mb is not None and event.memory_free_mb is not None:
            memory = f"; needs about {event.memory_needed_mb:,} MB of {event.memory_free_mb:,} MB free"
        since = "" if event.resumed_from is None else f", from step {event.resumed_from:,} on"
        self._bar.say(
            f"{event.steps:,} steps of {event.steps_per_epoch:,} an epoch{since},"
            f" {event.tokens_per_epoch:,} label tokens an epoch{memory}"
        )
        for note in event.notes:
            self._bar.say(f"  {one_line(note, 300)}")


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
