"""The line of requests that all lanes serve: first in, first out, under one lock."""

from __future__ import annotations

import heapq
import threading

from .jobs import Job


class Line:
    """Who waits, and who is anywhere at all. Hold `changed` for every use, and notify it after every change.

    The same lock guards what lanes see of each other; it is free while they decode.
    """

    def __init__(self, sequences: int) -> None:
        self.changed = threading.Condition()
        self.sequences = sequences
        """Most jobs that run at a time, all lanes together."""
        self.jobs: dict[int, Job] = {}
        self._waiting: list[tuple[int, Job]] = []
        self._admissions = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, job: Job) -> None:
        """Behind all that came before; a job that was preempted gets its old place again."""
        self.jobs[job.id] = job
        heapq.heappush(self._waiting, (job.order, job))

    def head(self) -> Job | None:
        """Who is next."""
        return self._waiting[0][1] if self._waiting else None

    def admit(self) -> None:
        """The head leaves the line and runs."""
        heapq.heappop(self._waiting)

    def numbered(self) -> int:
        """How many were admitted for the first time, up to and with this one."""
        self._admissions += 1
        return self._admissions

    def leave(self, job: Job) -> None:
        """The job has ended, wherever it was."""
        self.jobs.pop(job.id, None)
        if any(waiting is job for _, waiting in self._waiting):
            self._waiting = [item for item in self._waiting if item[1] is not job]
            heapq.heapify(self._waiting)
