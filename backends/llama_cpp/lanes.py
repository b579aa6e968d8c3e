"""Lanes: contexts of one model that decode side by side, each in a thread, and serve one line of requests.

Two threads that decode one batch wait for each other some hundred times a step, and every row of the batch looks over
the cells of all its sequences. Two lanes of one thread each wait for nobody, and each has the cells of its own
sequences only. A lane that is alone gets all threads.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Sequence

from .engine import Engine
from .jobs import Job
from .line import Line


class Lanes:
    """The lanes of a worker, running."""

    def __init__(self, line: Line, engines: Sequence[Engine]) -> None:
        self._line = line
        self.plan = engines[0].plan
        for engine in engines:
            engine.peers = tuple(other for other in engines if other is not engine)
            threading.Thread(target=_serve, args=(engine,), daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job behind those that came before."""
        with self._line.changed:
            self._line.join(job)
            self._line.changed.notify_all()

    def cancel(self, job_id: int) -> None:
        """Give a job up at the next step; unknown ids are ignored."""
        with self._line.changed:
            if job := self._line.jobs.get(job_id):
                job.cancelled = True
                self._line.changed.notify_all()


def _serve(engine: Engine) -> None:
    """For ever. An error that nobody foresaw ends the process: its parent tells the callers, and starts it anew."""
    try:
        while True:
            engine.turn()
    except BaseException:
        traceback.print_exc()
        os._exit(70)
