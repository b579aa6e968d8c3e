"""Every error body that NIM and its kin are known to send becomes the right typed error, through real HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.backends.errors import (
    BackendError,
    BadRequest,
    ContextOverflow,
    FieldRejected,
    MalformedReply,
    NoSuchModel,
    OutOfCredit,
    RateLimited,
    Refused,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from pairsmith.backends.http_errors import error_of, retry_after, server_message
from tests.http_doors import ASK, CANARY, MODEL, nim_at, openai_at
from tests.servers import nim
from tests.servers.http_server import HttpServer, Incoming, Outgoing


def wrapped(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


WRAPPED_OVERFLOW = wrapped(
    "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens",
    type="BadRequestError",
    param=None,
    code=400,
)
LLAMA_SERVER_OVERFLOW = wrapped(
    "request (7912 tokens) exceeds the available context size (4096 tokens), try increasing it",
    code=400,
    type="exceed_context_size_error",
    n_prompt_tokens=7912,
    n_ctx=4096,
)
PYTHON_REPR = (
    "[{'type': 'extra_forbidden', 'loc': ('body', 'prompt_cache_key'), 'msg': 'Extra inputs are not permitted', "
    "'input': 'main'}]"
)
ROWS = [
    (nim.MISSING_HEADER, Unauthorized, "authorization"),
    (nim.WRONG_KEY, Unauthorized, "Authorization failed"),
    (nim.NO_CREDIT, OutOfCredit, "credits expired"),
    (nim.NO_PAGE, NoSuchModel, MODEL),
    (nim.NOT_FOR_ACCOUNT, NoSuchModel, "Not found for account"),
    (nim.gone("z-ai/glm4.7"), NoSuchModel, "reached its end of life on 2026-05-14"),
    (nim.TOO_MANY, RateLimited, "Too Many Requests"),
    (nim.DEGRADED, Unavailable, "DEGRADED"),
    (nim.EXHAUSTED, Unavailable, "ResourceExhausted"),
    (nim.INTERNAL, Unavailable, "Internal server error"),
    (Outgoing(500, {"error": nim.INTERNAL.body}), Unavailable, "Internal server error"),
    (nim.OVERFLOW, ContextOverflow, "maximum context length is 4096"),
    (nim.extra_forbidden(["frequency_penalty"]), BadRequest, "frequency_penalty"),
    (Outgoing(400, {"error": PYTHON_REPR}), BadRequest, "prompt_cache_key"),
    (Outgoing(400, WRAPPED_OVERFLOW), ContextOverflow, "32768"),
    (Outgoing(400, wrapped("max_tokens must be at least 1, got -186")), ContextOverflow, "-186"),
    (Outgoing(400, LLAMA_SERVER_OVERFLOW), ContextOverflow, "7912 tokens"),
    (
        Outgoing(400, wrapped("too long", code="context_length_exceeded", param="messages")),
        ContextOverflow,
        "too long",
    ),
    (
        Outgoing(
            422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 2048", "error_type": "validation"}
        ),
        ContextOverflow,
        "2048",
    ),
    (Outgoing(400, wrapped("no such", code="model_not_found")), NoSuchModel, "no such"),
    (
        Outgoing(404, wrapped("The model `x` does not exist.", code="model_not_found")),
        NoSuchModel,
        "not exist",
    ),
    (
        Outgoing(503, wrapped("Loading model", code=503, type="unavailable_error")),
        Unavailable,
        "Loading model",
    ),
    (Outgoing(401, wrapped("Invalid API Key", type="authentication_error")), Unauthorized, "Invalid API Key"),
    (Outgoing(501, wrapped("not here", type="not_supported_error")), BadRequest, "not here"),
    (
        Outgoing(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
        BadRequest,
        "ends in /v1",
    ),
    (Outgoing(200, wrapped("upstream died", code=502)), Unavailable, "upstream died"),
    (Outgoing(429, wrapped("You exceeded your quota", code="insufficient_quota")), OutOfCredit, "quota"),
    (Outgoing(400, wrapped("The response was filtered", code="content_filter")), Refused, "filtered"),
    (Outgoing(413, b""), ContextOverflow, "too large"),
    (Outgoing(408, b""), TimedOut, "408"),
    (Outgoing(504, b"<html><title>Gateway Time-out</title>"), TimedOut, "Gateway Time-out"),
    (Outgoing(502, b"<html><title>Bad \x1b[31m Gateway</title>"), Unavailable, "a web page: Bad"),
    (Outgoing(202, b""), MalformedReply, "202"),
    (Outgoing(200, b""), MalformedReply, "empty"),
    (Outgoing(200, b"null"), MalformedReply, "without a completion"),
    (Outgoing(200, {"choices": []}), MalformedReply, "without a completion"),
    (
        Outgoing(422, {"detail": [{"loc": ["body", "messages", 0], "msg": "bad role"}]}),
        BadRequest,
        "messages.0",
    ),
]


@pytest.mark.parametrize(("reply", "kind", "said"), ROWS, ids=lambda v: str(getattr(v, "status", v))[:40])
async def test_an_error_body_becomes_its_typed_error(
    reply: Outgoing, kind: type[BackendError], said: str
) -> None:
    async with HttpServer(reply) as server:
        with pytest.raises(kind) as caught:
            await nim_at(server.url).complete(ASK)
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.reached
    assert server.completions == 1


async def test_a_retired_reward_model_names_the_list_and_the_rubric_judge() -> None:
    rules = nim.Rules(key=CANARY, retired=("nvidia/nemotron-4-340b-reward",))
    async with nim.NimServer(rules=rules) as server:
        with pytest.raises(NoSuchModel) as caught:
            await nim_at(server.url, "nvidia/nemotron-4-340b-reward").complete(ASK)
    assert caught.value.status == 410
    assert "end of life on 2026-05-14" in str(caught.value)
    assert "nvidia/llama-3.1-nemotron-70b-reward" in str(caught.value)
    assert "same five attributes" in str(caught.value)


async def test_an_unknown_model_names_the_closest_that_the_server_lists() -> None:
    async with nim.NimServer(rules=nim.Rules(key=CANARY)) as server:
        with pytest.raises(NoSuchModel) as caught:
            await nim_at(server.url, "meta/llama-3.1-405b").complete(ASK)
    assert "The server lists: meta/llama-3.1-405b-instruct" in str(caught.value)


@pytest.mark.parametrize("field", ["response_format", "seed", "top_p"])
async def test_a_refused_optional_field_is_dropped_on_the_next_try(field: str) -> None:
    ask = replace(ASK, json_schema={"type": "object"}, seed=1)
    rules = nim.Rules(key=CANARY, refuses=(field,))
    async with nim.NimServer(rules=rules) as server:
        door = nim_at(server.url)
        with pytest.raises(FieldRejected) as caught:
            await door.complete(ask)
        assert caught.value.field == field
        assert caught.value.retryable
        assert not caught.value.fatal
        again = await door.complete(ask)
        assert again.details["changed"]["not_sent"] == [field]
        assert field not in server.requests[-1].json
        capabilities = await door.capabilities()
    assert capabilities.json_schema is (field != "response_format")
    assert capabilities.seed is (field != "seed")


async def test_a_server_that_wants_max_completion_tokens_gets_them() -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    good = nim.ok(nim.Answer("ok"), "m")
    async with HttpServer([Outgoing(400, wrapped(said, param="max_tokens")), good]) as server:
        door = openai_at(server.url)
        with pytest.raises(FieldRejected):
            await door.complete(ASK)
        await door.complete(ASK)
    assert server.requests[-1].json["max_completion_tokens"] == 64
    assert "max_tokens" not in server.requests[-1].json


async def test_one_refusal_that_comes_many_times_counts_once() -> None:
    schema = {"type": "object"}

    def picky(incoming: Incoming) -> Outgoing:
        if incoming.json["response_format"]["type"] == "json_schema":
            return Outgoing(400, wrapped("response_format.type should be 'text' or 'json_object'"))
        return nim.ok(nim.Answer("{}"), "m")

    async with HttpServer(picky) as server:
        door = openai_at(server.url)
        ask = replace(ASK, json_schema=schema)
        results = await asyncio.gather(*(door.complete(ask) for _ in range(6)), return_exceptions=True)
        assert all(isinstance(r, FieldRejected) for r in results)
        await door.complete(ask)
    assert server.requests[-1].json["response_format"] == {"type": "json_object", "schema": schema}


async def test_a_model_that_is_still_loading_answers_later() -> None:
    loading = Outgoing(503, wrapped("Loading model", code=503, type="unavailable_error"))
    async with HttpServer([loading, nim.ok(nim.Answer("ok"), "m")]) as server:
        door = openai_at(server.url)
        with pytest.raises(Unavailable) as caught:
            await door.complete(ASK)
        assert caught.value.retryable
        assert (await door.complete(ASK)).text == "ok"


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7.0),
        ("0", 0.5),
        ("0.1", 0.5),
        ("600", 300.0),
        ("1e9", 300.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("", None),
        ("soon", None),
        ("1; drop", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 300.0),
        ("Sun, 99 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_clamped_or_ignored(value: str, wait: float | None) -> None:
    assert retry_after({"retry-after": value}) == wait


def test_a_retry_date_counts_from_the_servers_own_clock() -> None:
    headers = {"retry-after": "Sun, 06 Nov 1994 08:49:57 GMT", "date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    assert retry_after(headers) == 20


def test_milliseconds_come_before_seconds() -> None:
    assert retry_after({"retry-after-ms": "1500", "retry-after": "60"}) == 1.5


async def test_a_limit_carries_its_retry_after() -> None:
    async with HttpServer(Outgoing(429, nim.TOO_MANY.body, {"Retry-After": "7"})) as server:
        with pytest.raises(RateLimited) as caught:
            await nim_at(server.url).complete(ASK)
    assert caught.value.retry_after == 7


def test_the_message_is_taken_in_the_agreed_order() -> None:
    body = {"error": {"message": "one"}, "detail": "three", "message": "four", "title": "five"}
    assert server_message(json.dumps(body).encode()) == "one"
    body["error"] = "two"  # type: ignore[assignment]
    assert server_message(json.dumps(body).encode()) == "two"
    del body["error"]
    assert server_message(json.dumps(body).encode()) == "three"
    del body["detail"]
    assert server_message(json.dumps(body).encode()) == "four"
    assert server_message(b'{"title": "five"}') == "five"
    assert len(server_message(b"x" * 10_000)) < 260


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "status", "title", "loc", "msg", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(status=st.integers(100, 999), value=json_values)
def test_no_json_body_breaks_the_reading_of_errors(status: int, value: object) -> None:
    error = error_of(status, {}, json.dumps(value).encode(), server="s", model="m", optional=("seed",))
    assert isinstance(error, BackendError)
    assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(status=st.integers(100, 999), body=st.binary(max_size=300), header=st.text(max_size=20))
def test_no_bytes_break_the_reading_of_errors(status: int, body: bytes, header: str) -> None:
    headers = {"retry-after": header, "location": header}
    assert isinstance(error_of(status, headers, body, server="s", model="m"), BackendError)
