"""The diversity meters of a running job: what feeds them, and how often they are read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from .diversity import DiversityMeter, Meters
from .sieve import Sieve
from .store.candidates import NewCandidate

_READ_EVERY_S = 1.0
_KNOWN = 20_000
"""Newest instructions of earlier runs that the meters begin with."""
_NEIGHBOURS = 10
"""Instructions of one list whose nearest neighbour is looked for; fewer in a large pool, where that takes longer."""
_LARGE = 2_000


class Metering:
    """Feeds a meter with what passes the sieve."""

    def __init__(self, meter: DiversityMeter) -> None:
        self._meter = meter
        self._known: deque[str] = deque(maxlen=_KNOWN)
        self._read: Meters | None = None
        self._read_at = 0.0

    def noting(self, known: Iterable[tuple[str, bytes, str]]) -> Iterator[tuple[str, bytes, str]]:
        """The same stored instructions, with the newest pairs' put aside: seeds are not what the model wrote."""
        for row in known:
            if row[0].startswith("p"):
                self._known.append(row[2])
            yield row

    def begin(self, waiting: Iterable[str]) -> None:
        """Count what was put aside, and what waits for a response."""
        self._meter.add_all([*self._known, *waiting])
        self._known.clear()

    def count(self, sifted: Sequence[NewCandidate], sieve: Sieve) -> None:
        """Count what a list gave (blocking; under the sieve's lock)."""
        admitted = [new for new in sifted if new.loss is None]
        self._meter.add_all(new.instruction for new in admitted)
        for new in admitted[: max(1, _NEIGHBOURS * _LARGE // max(_LARGE, len(sieve)))]:
            nearest = sieve.nearest(new.instruction, new.input)
            if nearest is not None:
                self._meter.note_nearest(nearest)

    def read(self, *, now: bool = False) -> Meters:
        """The meters, not older than a second."""
        if now or self._read is None or time.monotonic() - self._read_at >= _READ_EVERY_S:
            self._read, self._read_at = self._meter.read(), time.monotonic()
        return self._read
