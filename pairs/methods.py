"""What a method of generation must be able to do: write a list of instructions, and answer one of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pairsmith.backends.errors import BackendError, BadRequest, FieldRejected
from pairsmith.backends.protocol import Capabilities, Completion, Request

from .calling import Answered, Caller
from .diversity import DiversityMeter
from .doors import Doors, Opened, Switched, pinned
from .errors import JobStopped
from .recipes import Recipe
from .sieve import Draft
from .store.candidates import Candidate
from .store.workspace import Workspace

_MOST_FIELDS = 8
"""A server may refuse optional fields one after the other; this many and we believe that it refuses us."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a method works with."""

    workspace: Workspace
    doors: Doors
    caller: Caller
    recipe: Recipe
    domain: str
    seed: int | None = None
    meter: DiversityMeter = field(default_factory=DiversityMeter)
    """What the instructions so far are like."""
    examples: str | None = None
    """Self-Instruct: which tasks a prompt shows, where not as the recipe says."""

    async def ask(
        self, make: RequestMaker, *, purpose: str, subject: str, number: int = 0
    ) -> Answered[Completion]:
        """One completion by the present generator; the request is made anew where the generator is switched, or where
        it turns out that it cannot do what its capabilities said. Raises BackendError, JobStopped, LimitReached."""
        for rejected in itertools.count():
            opened = await self.doors.present("generator")
            capabilities = await _capabilities(opened)
            request = make(capabilities)
            if self.seed is not None and capabilities.seed and request.seed is None:
                request = replace(request, seed=derived_seed(self.seed, purpose, subject, number))
            try:
                return await self.caller.complete(
                    pinned(self.doors, "generator", opened), request, purpose=purpose, subject=subject
                )
            except Switched:
                continue
            except BadRequest as error:
                if not isinstance(error, FieldRejected) or rejected > _MOST_FIELDS:
                    raise JobStopped(error.message, error.advice) from error
        raise AssertionError("unreachable")


class RequestMaker(Protocol):
    """Makes the request for a backend of the given capabilities."""

    def __call__(self, capabilities: Capabilities, /) -> Request: ...


@dataclass(frozen=True, slots=True)
class ListWritten:
    """A list call's outcome, its call still open. `malformed` says why there are no drafts."""

    answered: Answered[Completion]
    drafts: Sequence[Draft] = ()
    malformed: str | None = None
    asked: int | None = None
    """For how many this list stands where the model could not be told a number."""


@dataclass(frozen=True, slots=True)
class RunTopics:
    """The topics of a run: (id, the user's quota). `suggested`: names that the model has just given."""

    leaves: Sequence[tuple[int, int | None]]
    suggested: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """A candidate's response, or its loss. The open calls are closed by who stores it; `failure` is what the last of
    them is booked as where it gave nothing."""

    open: tuple[Answered[Any], ...]
    output: str = ""
    input: str | None = None
    """Where the method writes the input too; None leaves the candidate's."""
    loss: str | None = None
    detail: str | None = None


class Method(Protocol):
    """A way to get from a domain to pairs. `inputs`: whether `respond` writes the instruction's input too."""

    inputs: bool

    async def topics(self, count: int, wanted: int | None) -> RunTopics:
        """What a run of `count` pairs is dealt over; `wanted` topics where there are none. Raises as `write_list`."""
        ...

    async def write_list(self, topic_id: int, topic: str, count: int, barren: int) -> ListWritten:
        """Ask for `count` new instructions. Raises BackendError, JobStopped, LimitReached."""
        ...

    async def respond(self, candidate: Candidate, topic: str) -> Response:
        """Answer one instruction. Raises BackendError, JobStopped, LimitReached."""
        ...


async def _capabilities(opened: Opened) -> Capabilities:
    try:
        return await opened.backend.capabilities()
    except BackendError as error:
        raise JobStopped(error.message, error.advice) from error


def derived_seed(seed: int, purpose: str, subject: str, number: int) -> int:
    """A seed for one call, so that two calls of a run never share one: 31 bits of a hash."""
    import hashlib

    digest = hashlib.sha256(f"{seed}/{purpose}/{subject}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF
