"""The control law for a hidden limit of requests per minute: arithmetic on times, without waiting or a clock.

The server counts requests in a sliding window and answers 429 above a number that it does not tell. We know when
each request left and when its answer came; the server's stamp lies between. So a request may go once the one
`limit` places before it has certainly left the window. The limit is found by sending until the first 429: what was
accepted in the window before it *is* the limit. Afterwards it is tried from above so rarely that refusals stay
under one in a hundred, and followed down when the server lowers it. Refused requests may count for the server or
not: the law starts from "not" and believes the server when it shows otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

TOLERANCE = 0.015
"""Part of a window by which a stamp may lag behind the moment we sent: costs as much of the limit, saves refusals."""
MOST_TOLERANCE = 0.04
PROBE_AFTER = 150
"""Accepted requests between two trials of a higher limit; doubled by each that fails."""
MOST_PROBE_AFTER = 1200
LONGEST_PAUSE = 5.0
"""In windows."""
SMALLEST = 4
"""No smaller limit is believed from a single refusal: so few requests prove rather that others use the key too."""


class Blame(Enum):
    """What a refusal is put down to."""

    RATE = "rate"
    CROWD = "crowd"
    """Too many at once, not too many in a minute."""


@dataclass(slots=True, eq=False)
class Sent:
    """One request: when it was let go, when its last byte was written, when it was answered; and whether refused."""

    at: float
    written: float | None = None
    done: float | None = None
    refused: bool = False


class RateLaw:
    """State of one limit. All times are seconds of one monotonic clock, the caller's."""

    def __init__(self, *, window: float = 60.0, cap: int | None = None, spacing: float | None = None) -> None:
        """`cap`: a limit that the user set. `spacing`: least seconds between two requests (default window/150)."""
        self.window = window
        self.cap = cap
        self.limit: int | None = None
        """Requests per window as learned; None until the first refusal."""
        self.refusals_count = False
        """Whether the server was seen to count the requests that it refused."""
        self.refused = 0
        self._spacing = window / 150 if spacing is None else spacing
        self._fixed_spacing = spacing is not None
        self._tolerance = TOLERANCE * window
        self._log: list[Sent] = []
        self._next = -math.inf
        self._pause = -math.inf
        self._epoch: float | None = None
        self._last_refusal = -math.inf
        self._streak = 0
        self._refusal_s = 0.0
        self._alone_until = -math.inf
        self._finding = False
        self._headroom = 0
        self._trials: list[Sent] = []
        self._trials_at_once = 1
        self._probe_until = -math.inf
        self._probe_after = PROBE_AFTER
        self._since_probe = 0

    def ready_at(self, now: float) -> float:
        """The earliest time at which one more request may go; `now` or before means at once."""
        if self._headroom and now > self._probe_until:
            self._headroom, self._trials_at_once = 0, 1
        trying = self._headroom if len(self._trials) < self._trials_at_once else 0
        alone = self._alone_until if self._streak else -math.inf
        return max(self._next, self._pause, alone, self._slot(self._room(trying)))

    def paused_until(self) -> float:
        """The end of the pause that a refusal imposed (-inf: none ever)."""
        return self._pause

    def used(self, now: float) -> int:
        """Requests of the last window that count."""
        return sum(1 for e in self._log if e.at > now - self.window and self._counts(e))

    def start(self, now: float) -> Sent:
        """Note that a request goes now."""
        if self._epoch is None:
            self._epoch = now
        self._quicken(now)
        spacing = self._spacing
        if self.limit is not None and not self._fixed_spacing:
            spacing = min(spacing, self.window / (2 * self.limit))
        self._next = max(self._next, now - 2 * spacing) + spacing
        if self._streak:
            # After a refusal one goes ahead, and the others wait for as long as a second refusal would take.
            self._alone_until = now + 3 * self._refusal_s
        sent = Sent(now)
        if self._headroom and self._slot(self._room(0)) > now:
            self._trials.append(sent)
        self._log.append(sent)
        if len(self._log) > 64 and self._log[len(self._log) // 2].at < now - 2 * self.window:
            self._log = [e for e in self._log if e.at > now - 2 * self.window]
        return sent

    def void(self, sent: Sent) -> None:
        """The request never left: it counts nowhere."""
        self._end_trial(sent)
        if sent in self._log:
            self._log.remove(sent)

    def finish(self, sent: Sent, now: float) -> None:
        """The request was answered, by anything but a refusal."""
        sent.done = now
        self._end_trial(sent)
        if sent.at >= self._last_refusal:
            self._streak = 0
        if self.limit is None:
            return
        self._since_probe += 1
        if self._headroom:
            self._raise_if_proven(sent)
        elif self._since_probe >= self._probe_after and (self.cap is None or self.limit < self.cap):
            self._probe(1 + math.ceil(2 * self.limit * self._tolerance / self.window), now)

    def pause(self, until: float) -> None:
        """Let nothing go before this time: the server asked for it."""
        self._pause = max(self._pause, until)

    def refuse(self, sent: Sent, now: float, retry_after: float | None, others_in_flight: int) -> Blame:
        """The request was answered 429. Says what that is put down to."""
        sent.done, sent.refused = now, True
        self._end_trial(sent)
        self.refused += 1
        self._refusal_s = min(max(now - sent.at, self._refusal_s / 2), self.window / 12)
        if retry_after is not None:
            self.pause(now + retry_after)
        before = self._before(sent)
        new_round, self._last_refusal = sent.at >= self._last_refusal, now
        if not new_round:
            if self._finding and self.limit is not None and before >= SMALLEST:
                self.limit = min(self.limit, before)
            return Blame.RATE
        self._streak += 1
        self._finding = False
        if self._streak > 1:
            self._again(sent, before, now)
            return Blame.RATE
        if self.limit is None:
            return self._find(before, now, others_in_flight)
        self._revise(sent, before)
        return Blame.RATE

    def _find(self, before: int, now: float, others_in_flight: int) -> Blame:
        if 0 < before <= others_in_flight:
            self._streak = 0
            self.pause(now + self.window / 60)
            return Blame.CROWD
        if before < SMALLEST:
            self.pause(now + self.window / 16)
            return Blame.RATE
        self.limit, self._finding = before, True
        self._since_probe = 0
        return Blame.RATE

    def _revise(self, sent: Sent, before: int) -> None:
        """A first refusal although a limit is known: a trial that failed, our timing, a refusal that counted,
        or a lower limit."""
        assert self.limit is not None
        if self._headroom:
            self._headroom, self._trials_at_once = 0, 1
            self._probe_after = min(2 * self._probe_after, MOST_PROBE_AFTER)
        self._since_probe = 0
        if before >= self.limit:
            return
        if self._explained_by_refusals(sent, before):
            self.refusals_count = True
        elif (
            before + self._at_the_edge(sent) >= self.limit and self._tolerance < MOST_TOLERANCE * self.window
        ):
            self._tolerance = min(2 * self._tolerance, MOST_TOLERANCE * self.window)
        else:
            self.limit = max(before, SMALLEST)
            self._since_probe = self._probe_after // 2

    def _again(self, sent: Sent, before: int, now: float) -> None:
        """Refused again with nothing accepted in between: wait, twice as long each time."""
        if self._streak == 2 and self.limit is not None and self._explained_by_refusals(sent, before):
            self.refusals_count = True
            return
        self.pause(now + self.window * min(2.0 ** (self._streak - 5), LONGEST_PAUSE))

    def _explained_by_refusals(self, sent: Sent, before: int) -> bool:
        if self.refusals_count or self.limit is None:
            return False
        refused = sum(1 for e in self._log if e.refused and e is not sent and e.at > sent.at - self.window)
        return refused > 0 and before + refused >= self.limit

    def _at_the_edge(self, sent: Sent) -> int:
        """Requests that by our clock had just left the window, and by the server's perhaps not."""
        oldest = sent.at - self.window
        return sum(1 for e in self._log if oldest - 3 * self._tolerance < e.at <= oldest and self._counts(e))

    def _raise_if_proven(self, sent: Sent) -> None:
        """An accepted trial: as many as were surely in the window with it are allowed."""
        assert self.limit is not None
        stamp = self._stamp(sent)
        sure = sum(
            1 for e in self._log if stamp - self.window < e.at <= sent.at and e is not sent and not e.refused
        )
        if sure + 1 > self.limit:
            self.limit = sure + 1 if self.cap is None else min(sure + 1, self.cap)
            self._probe_after = PROBE_AFTER
            self._trials_at_once = min(2 * self._trials_at_once, 16)
            self._probe(min(2 * self._headroom, self.limit), sent.done or stamp)

    def _probe(self, headroom: int, now: float) -> None:
        self._headroom = headroom
        self._probe_until = now + 1.5 * self.window
        self._since_probe = 0

    def _end_trial(self, sent: Sent) -> None:
        if sent in self._trials:
            self._trials.remove(sent)

    def _slot(self, room: int | None) -> float:
        """When fewer than `room` are left in the window."""
        if room is None:
            return -math.inf
        recent = [self._stamp(e) for e in self._log[-(2 * room + 64) :] if self._counts(e)]
        if len(recent) < room:
            return -math.inf
        recent.sort()
        return recent[-room] + self.window * 1.0005

    def _room(self, headroom: int) -> int | None:
        if self.limit is None:
            return self.cap
        room = self.limit + headroom
        return room if self.cap is None else min(room, self.cap)

    def _stamp(self, sent: Sent) -> float:
        """The latest time at which the server can have counted this request."""
        left = (sent.written if sent.written is not None else sent.at) + self._tolerance
        return left if sent.done is None else min(sent.done, left)

    def _counts(self, sent: Sent) -> bool:
        return self.refusals_count or not sent.refused

    def _before(self, sent: Sent) -> int:
        """How many requests of the window before this one counted."""
        oldest = sent.at - self.window
        return sum(1 for e in self._log if oldest < e.at <= sent.at and e is not sent and self._counts(e))

    def _quicken(self, now: float) -> None:
        """Halve the spacing after each full window in which it, and no limit, held us back."""
        if (
            self._fixed_spacing
            or self.limit is not None
            or self._epoch is None
            or now - self._epoch < self.window
        ):
            return
        self._epoch = now
        if self.used(now) >= 0.7 * self.window / self._spacing:
            self._spacing /= 2
