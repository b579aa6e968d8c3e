"""A server's hidden limit of requests in a sliding window, and the account of how a client fared against it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class HiddenLimit:
    """Accepts at most `limit` requests in any `window` seconds."""

    limit: int
    window: float = 60.0
    refusals_count: bool = False
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def ask(self, now: float) -> float | None:
        """None: accepted. Else refused, with the seconds until there is room."""
        stamps = self.accepted + self.refused if self.refusals_count else self.accepted
        inside = sorted(t for t in stamps[-2 * self.limit - 200 :] if t > now - self.window)
        if len(inside) < self.limit:
            self.accepted.append(now)
            return None
        self.refused.append(now)
        return inside[-self.limit] + self.window - now

    def use_by_window(self, start: float, windows: int) -> list[float]:
        """Part of the limit used in each whole window since `start`."""
        counts = [0] * windows
        for t in self.accepted:
            k = int((t - start) // self.window)
            if 0 <= k < windows:
                counts[k] += 1
        return [c / self.limit for c in counts]

    def refused_since(self, t: float) -> float:
        """Part of the calls since `t` that were refused."""
        refused = sum(1 for x in self.refused if x >= t)
        return refused / max(1, refused + sum(1 for x in self.accepted if x >= t))
