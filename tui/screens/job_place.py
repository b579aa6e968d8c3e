"""What places that look at one kind of job have in common: they paint when it moves, and start or stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .base import PlaceScreen

if TYPE_CHECKING:
    from ..job_state import JobKind, JobState

PAINT_S = 0.25


class StartsJobs(PlaceScreen):
    """A place whose keys start and stop jobs."""

    def _may_start(self) -> bool:
        """Whether no job is under way; says so where one is."""
        jobs = self.application.jobs
        if jobs.running:
            self.notify("A job is under way" + (": p goes on" if jobs.paused else ""))
        return not jobs.running

    def action_stop(self) -> None:
        """Stop what runs."""
        if self.application.jobs.running:
            self.application.jobs.stop()
            self.paint()
        else:
            self.notify("Nothing runs")


class JobPlace(StartsJobs):
    """Say which `JOB`, write `paint`, and `job_ended` for what is to be read then."""

    JOB: ClassVar[JobKind]

    def __init__(self) -> None:
        super().__init__()
        self._painted = -1

    def job_ended(self) -> None:
        """The job has just ended: what it left can be read."""

    @property
    def _state(self) -> JobState | None:
        """The job of this kind, running or not; None where the last one was of another kind."""
        state = self.application.jobs.state
        return state if state is not None and state.kind == self.JOB else None

    def on_mount(self) -> None:
        """Look at the job a few times a second while this place is on the screen."""
        self.set_interval(PAINT_S, self._tick)

    def _tick(self) -> None:
        state = self._state
        if state is None or not self.is_current or state.version == self._painted:
            return
        over = state.over
        self._painted = state.version
        self.paint()
        if over:
            self.job_ended()
