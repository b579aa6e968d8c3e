"""Every way in which an Ollama server is known to fail, each under the one error that it means."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairsmith.backends.errors import (
    BackendError,
    BadRequest,
    Cancelled,
    ContextOverflow,
    MalformedReply,
    NoSuchModel,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from pairsmith.backends.ollama import open_ollama
from pairsmith.backends.ollama_errors import DegenerateOutput, error_from, message_of
from pairsmith.backends.protocol import Message, Request, ScoreRequest
from pairsmith.backends.registry import Settings
from pairsmith.backends.text import one_line
from tests.servers.ollama import OllamaServer
from tests.servers.ollama_plays import PLAYS, Answer, Drop, End

ROWS: dict[str, tuple[type[BackendError], str]] = {
    "model missing": (NoSuchModel, "ollama pull llama3.2"),
    "model missing, older words": (NoSuchModel, "ollama pull llama3.2"),
    "no name": (BadRequest, "model is required"),
    "invalid name": (BadRequest, "invalid model name"),
    "embedding model": (BadRequest, "Choose a chat model"),
    "no thinking": (BadRequest, "does not support thinking"),
    "queue full": (Unavailable, "queue"),
    "client gone": (Cancelled, "cancel"),
    "load failed": (Unavailable, "log of the Ollama server"),
    "load timed out": (Unavailable, "OLLAMA_LOAD_TIMEOUT"),
    "incompatible": (Unavailable, "Update Ollama"),
    "too little memory": (Unavailable, "smaller model"),
    "runner died": (Unavailable, "CUDA error"),
    "runner stopped": (Unavailable, "unexpectedly stopped"),
    "runner died mid-stream": (Unavailable, "CUDA error"),
    "runner stopped mid-stream": (Unavailable, "unexpectedly stopped"),
    "repeat guard": (DegenerateOutput, "degenerate output"),
    "repeat guard, later": (DegenerateOutput, "degenerate output"),
    "repeat guard, later, mid-stream": (DegenerateOutput, "degenerate output"),
    "cloud without sign-in": (Unauthorized, "ollama signin"),
    "cloud disabled": (Unauthorized, "cloud is disabled"),
    "cloud down": (Unavailable, "upstream error"),
    "cloud limit": (RateLimited, "usage limit"),
    "unknown path": (BadRequest, "Update Ollama"),
    "wrong host header": (Unauthorized, "127.0.0.1"),
    "bad format": (BadRequest, "invalid format"),
    "bad option": (BadRequest, "num_ctx"),
    "bad top_logprobs": (BadRequest, "between 0 and 20"),
    "halved prompt": (ContextOverflow, "half of it was dropped"),
    "prompt fills the window": (ContextOverflow, "whole window"),
    "window full, nothing said": (ContextOverflow, "whole window"),
    "overflow, rendered": (ContextOverflow, "longer than the context length"),
    "overflow, native": (ContextOverflow, r"request \(7912 tokens\) exceeds"),
    "cut with done": (MalformedReply, "cut"),
    "garbage line": (MalformedReply, "not JSON"),
    "dropped mid-line": (MalformedReply, "broke the connection"),
    "dropped at once": (MalformedReply, "broke the connection"),
    "thinking only, stopped": (MalformedReply, "only reasoning"),
    "200 without message": (MalformedReply, "without a message"),
    "200 empty": (MalformedReply, "an empty body|first line"),
    "200 html": (MalformedReply, "not JSON"),
}
PLAYED_ELSEWHERE = {"slow load", "model swap", "thinking only", "schema cut", "200 with error"}

ASK = Request(messages=(Message("user", "Hello"),), max_tokens=16, deadline_s=10.0)


async def outcome(server: OllamaServer, *, streaming: bool) -> BaseException | None:
    """What one completion raises."""
    backend = open_ollama("llama3.2", Settings(ollama_host=server.url))
    try:
        if streaming:
            async for _ in backend.stream(ASK):
                pass
        else:
            await backend.complete(ASK)
    except Exception as problem:
        return problem
    finally:
        await backend.close()
    return None


def test_every_play_has_a_row() -> None:
    assert set(ROWS) | PLAYED_ELSEWHERE == set(PLAYS)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("play", ROWS)
async def test_a_known_failure_is_the_error_that_it_means(play: str, streaming: bool) -> None:
    kind, words = ROWS[play]
    async with OllamaServer(plays=[play]) as server:
        problem = await outcome(server, streaming=streaming)
        assert type(problem) is kind
        assert problem.reached
        assert server.completions == 1
        assert "\n" not in str(problem)
        with pytest.raises(kind, match=words):
            raise problem


async def test_an_error_in_a_200_is_a_malformed_reply() -> None:
    async with OllamaServer(plays=["200 with error"]) as server:
        assert type(await outcome(server, streaming=False)) is MalformedReply


async def test_a_model_swap_is_only_slow() -> None:
    async with OllamaServer(plays=["model swap"]) as server:
        assert await outcome(server, streaming=False) is None


async def test_retry_after_is_read_and_clamped() -> None:
    for said, meant in (("7", 7.0), ("1e9", 300.0), ("-1", None), ("soon", None)):
        answer = Answer(429, b'{"error":"slow down"}', headers={"Retry-After": said})
        async with OllamaServer(plays=[lambda *_, answer=answer: answer]) as server:
            problem = await outcome(server, streaming=False)
            assert isinstance(problem, RateLimited)
            assert problem.retry_after == meant


async def test_a_missing_model_found_before_the_call_is_no_call() -> None:
    async with OllamaServer(models=[]) as server:
        problem = await outcome(server, streaming=False)
        assert isinstance(problem, NoSuchModel)
        assert (problem.reached, server.completions) == (False, 0)


async def test_a_hostile_message_is_shown_on_one_harmless_line_without_keys() -> None:
    text = "\x1b]0;owned\x07 line\r\nbreak nvapi-abcdefgh12345 " + "x" * 5000
    answer = Answer(500, json.dumps({"error": text}).encode())
    async with OllamaServer(plays=[lambda *_: answer]) as server:
        shown = str(await outcome(server, streaming=False))
        assert "\x1b" not in shown
        assert "nvapi-abcdefgh" not in shown
        assert len(shown) < 500


@pytest.mark.parametrize(
    "body",
    [
        '{"error":"{\\"error\\":{\\"message\\":\\"it broke\\"}}"}',
        '{"error":{"message":"it broke"}}',
        '{"error":"it broke"}',
        '{"detail":"it broke"}',
        "it broke",
    ],
)
def test_the_text_of_an_error_is_found_in_every_wrapping(body: str) -> None:
    assert message_of(body) == "it broke"


# ---- whatever comes, only our errors leave -------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HONEST: dict[str, Any] = {
    "model": "llama3.2",
    "message": {"role": "assistant", "content": "Hi", "thinking": ""},
    "done": True,
    "done_reason": "stop",
    "load_duration": 1,
    "prompt_eval_count": 3,
    "eval_count": 2,
    "logprobs": [{"token": "3", "logprob": -0.1, "top_logprobs": [{"token": "3", "logprob": -0.1}]}],
}


def _with(key: str, value: Any) -> dict[str, Any]:
    return {**HONEST, key: value}


ALMOST = st.builds(_with, st.sampled_from([*HONEST, "error", "response"]), JSON)
DEEP = st.sampled_from([b"[" * 100_000, b'{"error":' * 5000, b'{"done":' + b"9" * 5000 + b"}", b'"\\ud800"'])
BODY = (
    st.binary(max_size=200)
    | (JSON | ALMOST).map(lambda value: json.dumps(value).encode())
    | st.lists(JSON | ALMOST, max_size=3).map(
        lambda rows: b"\n".join(json.dumps(row).encode() for row in rows)
    )
    | DEEP
)


def require_harmless(problem: BackendError) -> None:
    assert one_line(str(problem), 10_000) == str(problem)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@given(
    body=BODY,
    status=st.sampled_from([200, 200, 200, 201, 204, 302, 400, 403, 404, 418, 429, 500, 503]),
    end=st.sampled_from([None, Drop(), End()]),
    how=st.sampled_from(["whole", "stream", "score", "prompt"]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_ever_raises_anything_but_a_backend_error(
    runner: asyncio.Runner, body: bytes, status: int, end: Drop | End | None, how: str
) -> None:
    answer = Answer(status, body) if end is None else Answer(status, chunks=[body or b" ", end])

    async def play() -> None:
        async with OllamaServer(always=lambda *_: answer) as server:
            backend = open_ollama("llama3.2", Settings(ollama_host=server.url))
            try:
                if how == "whole":
                    assert isinstance((await backend.complete(ASK)).text, str)
                elif how == "stream":
                    assert [chunk async for chunk in backend.stream(ASK)][-1].completion is not None
                elif how == "score":
                    request = ScoreRequest(suffixes=("a",), choices=("0", "1"), messages=ASK.messages)
                    row = (await backend.score(request)).probabilities[0]
                    assert all(0 <= p <= 1 for p in row)
                    assert sum(row) <= 1.0000001
                else:
                    await backend.complete(Request(prompt="x", deadline_s=10.0))
            except BackendError as problem:
                require_harmless(problem)
            finally:
                await backend.close()

    runner.run(play())


@given(body=BODY, where=st.sampled_from(["/api/show", "/api/version", "/api/tags", "/api/ps", "/api/pull"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_about_the_server_raises_anything_but_a_backend_error(
    runner: asyncio.Runner, body: bytes, where: str
) -> None:
    class Odd(OllamaServer):
        def respond(self, method: str, path: str, content: bytes) -> Answer:
            return Answer(200, body) if path == where else super().respond(method, path, content)

    async def play() -> None:
        async with Odd() as server:
            backend = open_ollama("llama3.2", Settings(ollama_host=server.url))
            assert isinstance((await backend.health()).summary, str)
            for attempt in (
                backend.models,
                backend.capabilities,
                backend.loaded,
                lambda: backend.complete(ASK),
            ):
                try:
                    await attempt()
                except BackendError as problem:
                    require_harmless(problem)
            with contextlib.suppress(BackendError):
                assert [step async for step in backend.pull("other")]
            await backend.close()

    runner.run(play())


@given(status=st.integers(-1, 700), body=st.text(max_size=60) | JSON.map(json.dumps))
@settings(max_examples=200, deadline=None)
def test_every_status_and_text_has_an_error(status: int, body: str) -> None:
    problem = error_from(status, body, model="m\x1b", origin="http://127.0.0.1:11434")
    require_harmless(problem)
