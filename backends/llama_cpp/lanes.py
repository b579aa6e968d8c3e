"""Lanes: contexts of one model that decode side by side, each in a thread, and serve a line of requests.

Two threads that decode one batch wait for each other some hundred times a step, and every row of the batch looks over
the cells of all its sequences. Two lanes of one thread each wait for nobody, and each has the cells of its own
sequences only. A lane that is alone gets all threads.

Of a very small model, what is scored has lanes and a line of its own (`Plan.scoring_lanes`): the judge's long rubric
would otherwise lie before the eyes of every token that is written beside it.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Sequence

from .engine import Engine
from .jobs import Job, Scoring


class Lanes:
    """The lanes of a worker, running."""

    def __init__(self, engines: Sequence[Engine], scoring: Sequence[Engine] = ()) -> None:
        """`scoring`: the lanes of another line, which take what is to be scored; none: `engines` take it."""
        self.plan = engines[0].plan
        self._line = engines[0].line
        self._scoring_line = scoring[0].line if scoring else self._line
        every = (*engines, *scoring)
        for engine in every:
            others = [other for other in every if other is not engine]
            engine.peers = tuple(other for other in others if other.line is engine.line)
            engine.strangers = tuple(other for other in others if other.line is not engine.line)
        for engine in every:
            threading.Thread(target=_serve, args=(engine,), daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job behind those that came before."""
        line = self._scoring_line if isinstance(job, Scoring) else self._line
        with line.changed:
            line.join(job)
            line.changed.notify_all()

    def cancel(self, job_id: int) -> None:
        """Give a job up at the next step; unknown ids are ignored."""
        for line in {self._line, self._scoring_line}:
            with line.changed:
                if job := line.jobs.get(job_id):
                    job.cancelled = True
                    line.changed.notify_all()


def _serve(engine: Engine) -> None:
    """For ever. An error that nobody foresaw ends the process: its parent tells the callers, and starts it anew."""
    try:
        while True:
            engine.turn()
    except BaseException:
        traceback.print_exc()
        os._exit(70)
