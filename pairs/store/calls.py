"""Calls: one row for each request to a backend. What is paid for is kept, answer and prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.protocol import Completion, Message, Request, Scored, ScoreRequest, Usage
from pairsmith.backends.text import clean

from .clock import now
from .driver import sqlite3


@dataclass(frozen=True, slots=True)
class Call:
    """One request and what came of it. Token counts are 0 while it is in flight."""

    id: int
    run_id: int | None
    purpose: str
    subject: str
    backend: str
    model: str
    request: Mapping[str, Any]
    state: str
    reason: str | None
    detail: str | None
    http_status: int | None
    sent_at: str
    latency_ms: int | None
    tokens_in: int
    tokens_out: int
    cost_micros: int
    answer: str | None
    details: Mapping[str, Any] | None


_OPEN = "(state = 'in flight' OR state = 'failed' AND reason = 'interrupted')"
"""A call that may still be closed. "interrupted" is only presumed: a call without a run (a reviewer's regeneration)
needs no job lock, so whoever holds that may have booked it so while it lives. What comes of it then overrules that."""


def _jsonable(text: str) -> str:
    return clean(text)[0]


def request_record(request: Request | ScoreRequest) -> dict[str, Any]:
    """A request as JSON-able data, unset fields left out: exactly what provenance and replay need."""
    record: dict[str, Any] = {}
    for field in type(request).__dataclass_fields__:
        value = getattr(request, field)
        if value is None or value == ():
            continue
        if field == "messages":
            value = [{"role": message.role, "content": _jsonable(message.content)} for message in value]
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, str):
            value = _jsonable(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        record[field] = value
    return record


def recorded_request(record: Mapping[str, Any]) -> Request:
    """The inverse of `request_record` for completions."""
    fields = dict(record)
    if "messages" in fields:
        fields["messages"] = tuple(Message(m["role"], m["content"]) for m in fields["messages"])
    if "stop" in fields:
        fields["stop"] = tuple(fields["stop"])
    return Request(**fields)


def begin_call(
    conn: sqlite3.Connection,
    *,
    run_id: int | None,
    purpose: str,
    subject: str,
    backend: str,
    model: str,
    request: Request | ScoreRequest,
) -> int:
    """Book a call as in flight, before it is sent: a kill then cannot lose it from the books."""
    cursor = conn.execute(
        "INSERT INTO call (run_id, purpose, subject, backend, model, request, state, sent_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'in flight', ?)",
        (
            run_id,
            purpose,
            subject,
            backend,
            model,
            json.dumps(request_record(request), ensure_ascii=False),
            now(),
        ),
    )
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid)


def finish_call(
    conn: sqlite3.Connection,
    call_id: int,
    answer: Completion | Scored,
    *,
    cost_micros: int = 0,
    failure: str | None = None,
    detail: str | None = None,
) -> None:
    """Close a call that was answered; `failure` names why the answer was of no use (a list that cannot be
    read).
    """
    if isinstance(answer, Completion):
        text = _jsonable(answer.text)
        details: dict[str, Any] = {"finish_reason": answer.finish_reason, **answer.details}
        if answer.reasoning:
            details["reasoning"] = _jsonable(answer.reasoning)
        if answer.reward is not None:
            details["reward"] = dict(answer.reward)
    else:
        text = json.dumps(answer.probabilities)
        details = dict(answer.details)
    if answer.usage.estimated:
        details["usage_estimated"] = True
    if answer.usage.cached_tokens:
        details["cached_tokens"] = answer.usage.cached_tokens
    details["answered_by"] = answer.model
    conn.execute(
        "UPDATE call SET state = ?, reason = ?, detail = ?, latency_ms = ?, tokens_in = ?, tokens_out = ?,"
        f" cost_micros = ?, answer = ?, details = ? WHERE id = ? AND {_OPEN}",
        (
            "useful" if failure is None else "failed",
            failure,
            detail,
            round(answer.latency_s * 1000),
            answer.usage.prompt_tokens,
            answer.usage.completion_tokens,
            cost_micros,
            text,
            json.dumps(details, ensure_ascii=False, default=str),
            call_id,
        ),
    )


def fail_call(conn: sqlite3.Connection, call_id: int, error: BackendError, latency_s: float) -> None:
    """Close a call that got no answer. One that never left this process is not a call: its row goes."""
    if not error.reached:
        conn.execute(f"DELETE FROM call WHERE id = ? AND {_OPEN}", (call_id,))
        return
    conn.execute(
        "UPDATE call SET state = 'failed', reason = ?, detail = ?, http_status = ?, latency_ms = ?"
        f" WHERE id = ? AND {_OPEN}",
        (error.kind, _jsonable(error.message), error.status, round(latency_s * 1000), call_id),
    )


def book_interrupted(conn: sqlite3.Connection) -> int:
    """Close calls that a dead process left in flight; only for the holder of the job lock. Returns how
    many. One that lives after all is closed anew by what comes of it.
    """
    return int(
        conn.execute(
            "UPDATE call SET state = 'failed', reason = 'interrupted' WHERE state = 'in flight'"
        ).rowcount
    )


def get_call(conn: sqlite3.Connection, call_id: int) -> Call:
    """One call with its request and answer. Raises KeyError."""
    row = conn.execute(
        "SELECT id, run_id, purpose, subject, backend, model, request, state, reason, detail, http_status, sent_at,"
        " latency_ms, tokens_in, tokens_out, cost_micros, answer, details FROM call WHERE id = ?",
        (call_id,),
    ).fetchone()
    if row is None:
        raise KeyError(call_id)
    values = list(row)
    values[6] = json.loads(values[6])
    values[17] = None if values[17] is None else json.loads(values[17])
    return Call(*values)


def answered_before(conn: sqlite3.Connection, purpose: str, subject: str) -> tuple[int, Scored] | None:
    """The newest useful scoring call on a subject, with its answer, as an interrupted job left it."""
    row = conn.execute(
        "SELECT id, answer, tokens_in, tokens_out, model, latency_ms FROM call"
        " WHERE purpose = ? AND subject = ? AND state = 'useful' ORDER BY id DESC LIMIT 1",
        (purpose, subject),
    ).fetchone()
    if row is None:
        return None
    probabilities = tuple(tuple(float(p) for p in suffix) for suffix in json.loads(row[1]))
    usage = Usage(row[2], row[3])
    return int(row[0]), Scored(probabilities, usage, row[4], (row[5] or 0) / 1000)


def models_of(conn: sqlite3.Connection, call_ids: Sequence[int]) -> dict[int, str]:
    """BACKEND:MODEL of each of these calls; ids that do not exist are left out."""
    found: dict[int, str] = {}
    for start in range(0, len(call_ids), 500):
        chunk = list(call_ids[start : start + 500])
        marks = ",".join("?" * len(chunk))
        found.update(
            conn.execute(
                f"SELECT id, backend || ':' || model FROM call WHERE id IN ({marks})", chunk
            ).fetchall()
        )
    return found
