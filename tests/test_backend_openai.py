"""The nim and openai doors: what they send, and what they make of the answers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.backends.errors import (
    BackendError,
    BadRequest,
    FieldRejected,
    MalformedReply,
    Refused,
    Unauthorized,
    Unavailable,
)
from pairsmith.backends.openai_reply import choice_probabilities, completion_of, read_models, read_reply
from pairsmith.backends.protocol import Backend, Message, Request, ScoreRequest, TokenLogprob
from tests.http_doors import ASK, CANARY, MODEL, nim_at, openai_at
from tests.servers.http_server import HttpServer, Outgoing
from tests.servers.nim import DEGRADED, Answer, NimServer, Rules, events, ok, reward_answer

RULES = Rules(key=CANARY)
REWARD = "nvidia/nemotron-4-340b-reward"
PAIR = Request((Message("user", "Q"), Message("assistant", "A")), temperature=0.2, max_tokens=9, seed=3)
SCORES = {
    "helpfulness": 4.15625,
    "correctness": 4.125,
    "coherence": 4.09375,
    "complexity": 0.55078125,
    "verbosity": 0.52734375,
}


async def ask(answer: Answer, request: Request = ASK) -> Any:
    async with HttpServer(ok(answer, "m")) as server:
        return await openai_at(server.url).complete(request)


def test_the_doors_speak_the_protocol() -> None:
    assert isinstance(nim_at("http://127.0.0.1:1"), Backend)
    assert isinstance(openai_at("http://127.0.0.1:1"), Backend)


async def test_nim_is_sent_the_least_that_says_it() -> None:
    full = replace(
        ASK, temperature=1.5, top_k=40, min_p=0.1, seed=7, stop=("###",), json_schema={"type": "object"}
    )
    async with NimServer(rules=RULES) as server:
        completion = await nim_at(server.url).complete(full)
        sent = server.requests[0].json
    assert sent == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is Git?"}],
        "max_tokens": 64,
        "temperature": 1.0,
        "top_p": 0.7,
        "seed": 7,
        "stop": ["###"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"type": "object"}},
        },
    }
    assert completion.details["changed"] == {"temperature": 1.0, "not_sent": ["top_k", "min_p"]}
    assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"


async def test_other_servers_are_sent_the_extras() -> None:
    async with HttpServer(ok(Answer("x"), "m")) as server:
        await openai_at(server.url).complete(replace(ASK, top_k=40, min_p=0.1, temperature=1.5))
    assert {k: server.requests[0].json[k] for k in ("top_k", "min_p", "temperature")} == {
        "top_k": 40,
        "min_p": 0.1,
        "temperature": 1.5,
    }


async def test_a_raw_prompt_goes_to_the_older_endpoint() -> None:
    body = {"choices": [{"text": " a tool", "finish_reason": "length"}], "model": "gpt2"}
    async with HttpServer(Outgoing(200, body)) as server:
        completion = await openai_at(server.url).complete(Request(prompt="Git is", max_tokens=3))
    assert server.requests[0].path == "/v1/completions"
    assert (completion.text, completion.finish_reason, completion.model) == (" a tool", "length", "gpt2")


async def test_nim_takes_no_raw_prompt() -> None:
    with pytest.raises(BadRequest) as caught:
        await nim_at("http://127.0.0.1:1").complete(Request(prompt="x"))
    assert not caught.value.reached


async def test_an_answer_is_kept_byte_for_byte() -> None:
    text = "  Two\r\nlines\u2028 and a\ttab \U0001f600  "
    completion = await ask(Answer(text))
    assert completion.text == text
    assert completion.usage.completion_tokens > 0
    assert not completion.usage.estimated


async def test_missing_usage_is_estimated() -> None:
    usage = (await ask(Answer("x" * 35, usage=False))).usage
    assert usage.estimated
    assert usage.completion_tokens == 10


async def test_a_cut_answer_says_length() -> None:
    assert (await ask(Answer("half an", finish="length"))).finish_reason == "length"


@pytest.mark.parametrize(
    ("answer", "text", "reasoning"),
    [
        (Answer("A", reasoning="hm"), "A", "hm"),
        (Answer("<think>hm</think>\n\nA"), "A", "hm"),
        (Answer("hm, so\n</think>\nA"), "A", "hm, so"),
        (Answer("<thinking>one</thinking><think>two</think>A"), "A", "one\n\ntwo"),
        (Answer("Write <think> and </think> tags"), "Write <think> and </think> tags", None),
        (Answer("<think>never closed", finish="length"), "", "never closed"),
        (Answer(None, finish="length", reasoning="long"), "", "long"),
    ],
)
async def test_reasoning_is_never_part_of_the_answer(
    answer: Answer, text: str, reasoning: str | None
) -> None:
    completion = await ask(answer)
    assert (completion.text, completion.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None),
        Answer(""),
        Answer(" \n"),
        Answer("<think>only this</think>"),
        Answer("x", finish="abort"),
    ],
)
async def test_an_answer_without_text_is_malformed(answer: Answer) -> None:
    with pytest.raises(MalformedReply):
        await ask(answer)


async def test_a_filtered_answer_is_refused() -> None:
    with pytest.raises(Refused):
        await ask(Answer("half", finish="content_filter"))


async def test_a_tool_call_is_malformed() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    async with HttpServer(Outgoing(200, body)) as server:
        with pytest.raises(MalformedReply, match="tool call"):
            await openai_at(server.url).complete(ASK)


async def test_a_message_in_a_list_and_content_in_parts_are_read() -> None:
    assert (await ask(Answer("A", message_as_list=True))).text == "A"
    parts = [{"type": "text", "text": "A"}, {"type": "image"}, {"type": "text", "text": "B"}]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": None}]}
    async with HttpServer(Outgoing(200, body)) as server:
        assert (await openai_at(server.url).complete(ASK)).text == "AB"


async def test_degraded_then_well_again() -> None:
    async with NimServer(rules=RULES) as server:
        server.script = [DEGRADED]
        door = nim_at(server.url)
        with pytest.raises(Unavailable):
            await door.complete(ASK)
        assert (await door.complete(ASK)).text == "A short answer."


async def test_a_missing_key_is_said_before_any_socket() -> None:
    async with NimServer() as server:
        with pytest.raises(Unauthorized) as caught:
            await nim_at(server.url, key="").complete(ASK)
        assert server.requests == []
    assert "NVIDIA_API_KEY" in str(caught.value)
    assert not caught.value.reached


async def test_the_list_is_served_without_a_key_and_health_is_not_fooled() -> None:
    async with NimServer() as server:
        door = nim_at(server.url, key="nvapi-wrong")
        assert MODEL in [m.id for m in await door.models()]
        health = await door.health()
    assert not health.ok
    assert isinstance(health.error, Unauthorized)


async def test_health_of_a_listed_but_retired_model_is_bad() -> None:
    async with NimServer(rules=Rules(key=CANARY, retired=(MODEL,))) as server:
        health = await nim_at(server.url).health()
    assert not health.ok
    assert "retired" in health.summary


async def test_health_is_a_completion_of_one_token() -> None:
    async with NimServer(rules=RULES) as server:
        health = await nim_at(server.url).health()
        assert health.ok
        assert server.requests[0].json["max_tokens"] == 1
        assert (await nim_at(server.url, REWARD).health()).ok is False  # its brain gives no scores
        assert set(server.requests[1].json) == {"model", "messages"}


async def test_models_are_told_apart_by_name() -> None:
    names = ["meta/llama", REWARD, "nvidia/nv-embed-v1", "nvidia/rerank-qa", "meta/llama-guard-4"]
    kinds = [m.kind for m in read_models({"data": [{"id": n} for n in names]})]
    assert kinds == ["chat", "reward", "embedding", "other", "other"]


async def test_capabilities_come_from_the_list_without_a_completion() -> None:
    listed = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}
    async with HttpServer(lambda r: Outgoing(200, listed)) as server:
        capabilities = await openai_at(server.url).capabilities()
        assert server.completions == 0
    assert capabilities.context_length == 4096
    assert capabilities.logprobs
    assert capabilities.suffixes_per_score == 1


async def test_reward_models_get_model_and_messages_only() -> None:
    async with NimServer(lambda body: reward_answer(SCORES), RULES) as server:
        door = nim_at(server.url, REWARD)
        assert (await door.capabilities()).reward_attributes == tuple(SCORES)
        completion = await door.complete(PAIR)
    assert completion.reward == SCORES
    assert set(server.requests[0].json) == {"model", "messages"}


async def test_a_scalar_reward_is_learned_as_such() -> None:
    name = "nvidia/llama-3.1-nemotron-70b-reward"
    async with NimServer(lambda body: reward_answer(-12.4375), RULES) as server:
        door = nim_at(server.url, name)
        assert (await door.complete(PAIR)).reward == {"reward": -12.4375}
        assert (await door.capabilities()).reward_attributes == ("reward",)


STREAM = Answer("Hello there, world", reasoning="hm")


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r", "\n: ping\n\n"])
async def test_a_stream_is_read_piece_by_piece(end: str) -> None:
    async with HttpServer(events(STREAM, "m", end=end)) as server:
        chunks = [c async for c in openai_at(server.url).stream(ASK)]
    sent = server.requests[0].json
    assert sent["stream"] is True
    assert "stream_options" not in sent
    assert "".join(c.text for c in chunks) == "Hello there, world"
    assert len(chunks) > 2
    last = chunks[-1].completion
    assert last is not None
    assert (last.text, last.reasoning, last.finish_reason) == ("Hello there, world", "hm", "stop")


async def test_a_stream_may_end_without_done_after_its_finish_reason() -> None:
    async with HttpServer(events(STREAM, "m", done=False)) as server:
        chunks = [c async for c in openai_at(server.url).stream(ASK)]
    assert chunks[-1].completion is not None


@pytest.mark.parametrize("done", [True, False])
async def test_a_stream_without_finish_reason_is_cut(done: bool) -> None:
    async with HttpServer(events(Answer("half an ans", finish=None), "m", done=done)) as server:
        with pytest.raises(MalformedReply):
            async for _ in openai_at(server.url).stream(ASK):
                pass


async def test_inline_reasoning_is_held_back_in_a_stream() -> None:
    async with HttpServer(events(Answer("<think>let me see </think>the answer is 4"), "m")) as server:
        chunks = [c async for c in openai_at(server.url).stream(ASK)]
    assert "".join(c.text for c in chunks) == "the answer is 4"


async def test_an_error_event_in_a_stream_is_typed() -> None:
    broken = b'data: {"error": {"message": "boom", "code": 500}}\n\n'
    reply = Outgoing(headers={"content-type": "text/event-stream"}, pieces=[(0.0, broken)])
    async with HttpServer(reply) as server:
        with pytest.raises(Unavailable, match="boom"):
            async for _ in openai_at(server.url).stream(ASK):
                pass


async def test_a_usage_event_without_choices_is_read() -> None:
    parts = [
        {"choices": [{"delta": {"content": "\ud83d"}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "\ude00"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 15, "completion_tokens": 2}},
    ]
    pieces = [(0.0, f"data: {json.dumps(p)}\n\n".encode()) for p in parts]
    async with HttpServer(Outgoing(headers={"content-type": "text/event-stream"}, pieces=pieces)) as server:
        chunks = [c async for c in openai_at(server.url).stream(ASK)]
    last = chunks[-1].completion
    assert last is not None
    assert last.text == "\U0001f600"
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (15, 2)


def entry(token: str, p: float, **top: float) -> dict[str, Any]:
    tops = [{"token": t.replace("_", " "), "logprob": math.log(q), "bytes": None} for t, q in top.items()]
    return {"token": token, "logprob": math.log(p), "bytes": None, "top_logprobs": tops}


JUDGE = ScoreRequest(
    (" helpfulness:",), ("0", "1", "2", "3", "4"), (Message("user", "Rate."),), deadline_s=10
)


async def score(logprobs: list[dict[str, Any]] | None) -> tuple[float, ...]:
    async with HttpServer(ok(Answer("3", logprobs=logprobs), "m")) as server:
        scored = await openai_at(server.url).score(JUDGE)
        sent = server.requests[0].json
    assert sent["messages"] == [{"role": "user", "content": "Rate. helpfulness:"}]
    assert (sent["logprobs"], sent["top_logprobs"], sent["temperature"]) == (True, 20, 0)
    return scored.probabilities[0]


async def test_a_score_sums_the_spellings_of_a_choice() -> None:
    row = await score([entry("3", 0.5, **{"3": 0.5, "_3": 0.2, "4": 0.1, "cat": 0.1})])
    assert row == pytest.approx((0, 0, 0, 0.7, 0.1))


@pytest.mark.parametrize("opening", [" ", "\n", '"'])
async def test_a_score_looks_behind_an_opening_space_or_quote(opening: str) -> None:
    row = await score([entry(opening, 0.9, **{"2": 0.05}), entry("4", 0.8, **{"4": 0.8, "1": 0.1})])
    assert row == pytest.approx((0, 0.09, 0.05, 0, 0.72))


async def test_logprobs_refused_by_null_turn_scoring_off() -> None:
    async with HttpServer(ok(Answer("3"), "m")) as server:
        door = openai_at(server.url)
        with pytest.raises(FieldRejected) as caught:
            await door.score(JUDGE)
        assert caught.value.reached
        assert (await door.capabilities()).suffixes_per_score == 0
        calls = server.completions
        with pytest.raises(FieldRejected) as again:
            await door.score(JUDGE)
        assert not again.value.reached
        assert server.completions == calls


async def test_health_finds_out_about_logprobs_once() -> None:
    async with NimServer(
        lambda body: Answer("ok", logprobs=[entry("ok", 0.9, ok=0.9)]), Rules(key=CANARY, logprobs=True)
    ) as server:
        door = nim_at(server.url)
        assert not (await door.capabilities()).logprobs
        assert (await door.health()).ok
        assert (await door.capabilities()).suffixes_per_score == 1
        await door.health()
    assert [("logprobs" in r.json) for r in server.requests] == [True, False]


async def test_health_copes_with_refused_logprobs() -> None:
    async with NimServer(rules=Rules(key=CANARY, refuses=("logprobs", "top_logprobs"))) as server:
        door = nim_at(server.url)
        assert (await door.health()).ok
        assert not (await door.capabilities()).logprobs


async def test_more_than_one_suffix_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        await openai_at("http://127.0.0.1:1").score(replace(JUDGE, suffixes=("a", "b")))


async def test_an_answer_cannot_be_begun_for_the_model() -> None:
    with pytest.raises(BadRequest, match="begun"):
        await openai_at("http://127.0.0.1:1").score(replace(JUDGE, begins_answer=True))


logprob_rows = st.lists(
    st.builds(
        TokenLogprob,
        st.sampled_from(["3", " 3", " ", '"', "x", ""]),
        st.floats(-20, 1),
        st.lists(st.tuples(st.sampled_from(["0", "1", " 1", "z"]), st.floats(-30, 1)), max_size=4).map(tuple),
    ),
    max_size=4,
)


@given(logprob_rows)
def test_probabilities_never_exceed_one(rows: list[TokenLogprob]) -> None:
    row = choice_probabilities(rows, ("0", "1", "3"))
    assert all(0 <= p <= 1 for p in row)
    assert sum(row) <= 1 + 1e-9


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "finish_reason",
                    "logprobs",
                    "usage",
                    "model",
                    "delta",
                    "text",
                    "id",
                    "data",
                    "top_logprobs",
                    "token",
                    "logprob",
                    "tokens",
                    "token_logprobs",
                    "reasoning_content",
                    "refusal",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=400, deadline=None)
@given(values, values, st.sampled_from(["m", "x-reward"]))
def test_no_shape_of_answer_breaks_the_reading(choice: Any, rest: Any, model: str) -> None:
    body = {**(rest if isinstance(rest, dict) else {}), "choices": [choice]}
    read_models(rest)
    try:
        completion = completion_of(read_reply(body), model=model, asked_characters=1, latency_s=0, changed={})
    except BackendError:
        return
    completion.text.encode()
    json.dumps(dict(completion.details), allow_nan=False)
