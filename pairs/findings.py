"""One thing that was found out about this machine, a backend or a workspace, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing. `note`: not usable now, and nobody needs it; `bad`: something needs it."""

    part: str
    name: str
    state: State
    summary: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)
