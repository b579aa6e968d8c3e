"""Replay a pair from its provenance: the recorded call once more, compared with what was stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pairsmith.backends.protocol import Backend, Completion, Request
from pairsmith.backends.registry import Settings, Spec, open_backend
from pairsmith.backends.text import clean, one_line

from .errors import PairsmithError, UsageError
from .store.calls import Call, get_call, recorded_request
from .store.pair_rows import Pair, get_versions
from .store.workspace import Workspace


class CannotReplay(PairsmithError):
    """There is no call to replay, or the model file is another one now."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it. `departure` is None where every token came again; else it says where the paths part, with both
    tokens, their probabilities and the gap of their logits (a gap near 0 is a tie that rounding decides)."""

    call_id: int
    model: str
    recorded: str
    replayed: str
    departure: Mapping[str, Any] | None
    was_alone: bool
    """Whether the recorded answer was computed alone: only then can identity be promised."""

    @property
    def identical(self) -> bool:
        return self.departure is None


async def replay_pair(workspace: Workspace, pair: Pair, settings: Settings) -> Replay:
    """Ask the recorded question again, alone, with the recorded seed. Raises CannotReplay, BackendError."""
    call = await _call_of(workspace, pair)
    if call.backend != "llama-cpp":
        raise CannotReplay(
            f"pair {pair.id} was written by {one_line(call.backend)}:{one_line(call.model, 60)}, which promises no"
            " repetition",
            "Only what llama-cpp wrote can be replayed; the prompt and the settings of every call are stored",
        )
    details = call.details or {}
    request = _seeded(recorded_request(call.request), details)
    backend = open_backend(Spec(call.backend, call.model), settings)
    try:
        completion = await _replayed(backend, request, call.answer or "")
    finally:
        await backend.close()
    now, then = completion.details.get("sha256"), details.get("sha256")
    if then and now != then:
        raise CannotReplay(
            f"{one_line(call.model, 80)} is another file now (SHA-256 {str(now)[:12]}…, recorded {str(then)[:12]}…)"
        )
    return Replay(
        call.id,
        f"{call.backend}:{call.model}",
        call.answer or "",
        clean(completion.text)[0],
        completion.details.get("departure"),
        bool(details.get("alone")),
    )


async def _call_of(workspace: Workspace, pair: Pair) -> Call:
    versions = await workspace.aread(lambda conn: get_versions(conn, pair.id))
    chosen = [version for version in versions if version.id == pair.version.id]
    by_model = [version for version in [*chosen, *reversed(versions)] if version.call_id is not None]
    if not by_model:
        raise CannotReplay(f"no version of pair {pair.id} was written by a model")
    call_id = by_model[0].call_id
    assert call_id is not None
    return await workspace.aread(lambda conn: get_call(conn, call_id))


def _seeded(request: Request, details: Mapping[str, Any]) -> Request:
    if request.seed is None and isinstance(details.get("seed"), int):
        return replace(request, seed=details["seed"])
    return request


async def _replayed(backend: Backend, request: Request, recorded: str) -> Completion:
    from pairsmith.backends.llama_cpp.backend import LlamaCppBackend

    if not isinstance(backend, LlamaCppBackend):
        raise UsageError("only llama-cpp can replay")
    return await backend.replay(request, recorded)
