"""The ollama door against a wire-exact server: completions, streams, scores, options, deadlines and keys."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from pairsmith.backends.errors import BadRequest, ContextOverflow, MalformedReply, NotReachable, TimedOut
from pairsmith.backends.ollama import OllamaBackend, open_ollama
from pairsmith.backends.ollama_errors import DegenerateOutput
from pairsmith.backends.protocol import Backend, Chunk, Message, Request, ScoreRequest
from pairsmith.backends.registry import Settings
from tests.servers.ollama import FakeModel, OllamaServer, Said
from tests.servers.ollama_plays import Answer, as_lines

THINKER = FakeModel("qwen3:4b", capabilities=("completion", "thinking"), family="qwen3")
DIGITS = ("0", "1", "2", "3", "4")


def opened(server: OllamaServer, model: str = "llama3.2", **settings: Any) -> OllamaBackend:
    return open_ollama(model, Settings(ollama_host=server.url, **settings))


def ask(text: str = "How do I make a branch?", **more: Any) -> Request:
    return Request(messages=(Message("system", "Be brief."), Message("user", text)), **more)


def scoring(suffix: str = "\nhelpfulness:") -> ScoreRequest:
    return ScoreRequest(suffixes=(suffix,), choices=DIGITS, messages=(Message("user", "Grade this."),))


async def chunks_of(backend: OllamaBackend, request: Request) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(request)]


async def test_it_is_a_backend_of_the_protocol() -> None:
    async with OllamaServer() as server:
        assert isinstance(opened(server), Backend)


async def test_a_completion_holds_text_finish_reason_tokens_and_timings() -> None:
    async with OllamaServer(brain=lambda _: "Use `git switch -c name`.") as server:
        backend = opened(server)
        done = await backend.complete(ask(max_tokens=50, seed=7))
        assert (done.text, done.finish_reason) == ("Use `git switch -c name`.", "stop")
        assert done.usage.prompt_tokens > 0
        assert done.usage.completion_tokens == 7
        assert not done.usage.estimated
        assert done.details["seed"] == 7
        assert (done.details["num_ctx"], done.details["ollama"]) == (8192, "0.33.0")
        assert done.details["eval_duration"] > 0
        assert server.completions == 1
        await backend.close()


async def test_every_field_of_a_request_reaches_the_server_under_its_name() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        await backend.complete(
            ask(
                max_tokens=64,
                temperature=0.2,
                top_p=0.7,
                top_k=30,
                min_p=0.05,
                frequency_penalty=0.1,
                presence_penalty=0.2,
                seed=3,
                stop=("###",),
                json_schema=schema,
                top_logprobs=5,
            )
        )
        body = server.bodies[0]
        assert body["options"] == {
            "num_ctx": 8192,
            "num_predict": 64,
            "temperature": 0.2,
            "top_p": 0.7,
            "top_k": 30,
            "min_p": 0.05,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "seed": 3,
            "stop": ["###"],
        }
        assert body["format"] == schema
        assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
        assert (body["truncate"], body["shift"], body["stream"]) == (False, False, False)
        assert body["keep_alive"] == "30m"
        assert "think" not in body
        await backend.close()


async def test_the_runner_options_never_vary_so_that_the_model_is_loaded_once() -> None:
    async with OllamaServer(brain=lambda _: Said("3", top=({"3": 0.9},))) as server:
        backend = opened(server)
        await backend.complete(ask(max_tokens=10))
        await backend.complete(ask("x" * 9000, max_tokens=2000, temperature=1.0))
        await chunks_of(backend, ask(seed=1))
        await backend.score(scoring())
        await backend.complete(Request(prompt="Once upon a time"))
        assert server.completions == 5
        assert {body["options"]["num_ctx"] for body in server.bodies} == {8192}
        assert server.loads == 1
        await backend.close()


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [(131072, None, 8192), (2048, None, 2048), (131072, 16384, 16384), (1024, 4096, 1024)],
)
async def test_num_ctx_is_the_settings_else_8192_and_never_more_than_the_model_has(
    own: int, asked: int | None, expected: int
) -> None:
    async with OllamaServer(models=[FakeModel("m:latest", context_length=own)]) as server:
        backend = opened(server, "m", n_ctx=asked)
        assert (await backend.capabilities()).context_length == expected
        await backend.complete(ask())
        assert server.bodies[0]["options"]["num_ctx"] == expected
        await backend.close()


async def test_a_keep_alive_of_the_users_own_is_left_to_the_server() -> None:
    async with OllamaServer() as server:
        backend = opened(server, env={"OLLAMA_KEEP_ALIVE": "-1"})
        await backend.complete(ask())
        assert "keep_alive" not in server.bodies[0]
        await backend.close()


async def test_a_raw_prompt_goes_to_generate_untouched_by_any_template() -> None:
    async with OllamaServer(brain=lambda _: "there was") as server:
        backend = opened(server)
        done = await backend.complete(Request(prompt="Once upon a time", max_tokens=8))
        assert done.text == "there was"
        assert "/api/generate" in [r.path for r in server.requests]
        assert (server.bodies[0]["raw"], server.bodies[0]["prompt"]) == (True, "Once upon a time")
        await backend.close()


async def test_a_request_without_words_is_refused_before_it_is_sent() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        for empty in (Request(), Request(prompt=""), Request(messages=(Message("user", "a"),), prompt="b")):
            with pytest.raises(BadRequest) as caught:
                await backend.complete(empty)
            assert not caught.value.reached
        assert server.completions == 0
        await backend.close()


# ---- thinking ------------------------------------------------------------------------------------------------


async def test_a_thinking_model_is_told_not_to_think() -> None:
    async with OllamaServer(models=[THINKER], brain=lambda _: Said("4", thinking="hm")) as server:
        backend = opened(server, "qwen3:4b")
        done = await backend.complete(ask())
        assert server.bodies[0]["think"] is False
        assert (done.text, done.reasoning) == ("4", None)
        await backend.close()


async def test_gpt_oss_which_cannot_stop_thinking_is_told_to_think_little() -> None:
    model = FakeModel("gpt-oss:20b", capabilities=("completion", "thinking"), family="gptoss")
    async with OllamaServer(models=[model], brain=lambda _: Said("4", thinking="hm")) as server:
        backend = opened(server, "gpt-oss:20b")
        done = await backend.complete(ask())
        assert server.bodies[0]["think"] == "low"
        assert (done.text, done.reasoning) == ("4", "hm")
        assert "".join(chunk.text for chunk in await chunks_of(backend, ask())) == "4"
        await backend.close()


@pytest.mark.parametrize(
    ("said", "text", "reasoning"),
    [
        ("<think>\nLet me see.\n</think>\n\nUse git switch.", "Use git switch.", "Let me see."),
        ("Let me see.\n</think>\nUse git switch.", "Use git switch.", "Let me see."),
        ("Write <think> and </think> around it.", "Write <think> and </think> around it.", None),
        ("<a>\n</analysis>\n</a> closes it.", "<a>\n</analysis>\n</a> closes it.", None),
        ("The element ends with </thought>.", "The element ends with </thought>.", None),
        ("a < b", "a < b", None),
    ],
)
async def test_inline_reasoning_is_kept_apart_from_the_answer(
    said: str, text: str, reasoning: str | None
) -> None:
    async with OllamaServer(brain=lambda _: said) as server:
        backend = opened(server)
        done = await backend.complete(ask())
        assert (done.text, done.reasoning) == (text, reasoning)
        await backend.close()


@pytest.mark.parametrize("said", ["<think>Hm.</think>\nUse it.", "Use it.", "<th is not a tag", "<think"])
async def test_a_stream_shows_exactly_the_answer_of_its_completion(said: str) -> None:
    async with OllamaServer(brain=lambda _: said) as server:
        backend = opened(server)
        chunks = await chunks_of(backend, ask())
        done = chunks[-1].completion
        assert done is not None
        assert "".join(chunk.text for chunk in chunks) == done.text
        assert all(chunk.completion is None for chunk in chunks[:-1])
        await backend.close()


async def test_thinking_that_used_up_all_tokens_is_a_cut_answer_not_an_answer() -> None:
    async with OllamaServer(models=[THINKER], plays=["thinking only"]) as server:
        backend = opened(server, "qwen3:4b")
        done = await backend.complete(ask())
        assert (done.text, done.finish_reason) == ("", "length")
        assert done.reasoning is not None
        await backend.close()


# ---- ends ----------------------------------------------------------------------------------------------------


async def test_an_answer_at_the_token_limit_ends_by_length() -> None:
    async with OllamaServer(brain=lambda _: "word " * 100) as server:
        backend = opened(server)
        done = await backend.complete(ask(max_tokens=10))
        assert (done.finish_reason, done.usage.completion_tokens) == ("length", 10)
        await backend.close()


async def test_schema_output_cut_by_the_limit_ends_by_length() -> None:
    async with OllamaServer(plays=["schema cut"]) as server:
        backend = opened(server)
        done = await backend.complete(ask(max_tokens=16, json_schema={"type": "object"}))
        assert done.finish_reason == "length"
        with pytest.raises(ValueError, match="Unterminated"):
            json.loads(done.text)
        await backend.close()


async def test_schema_output_cut_at_the_limit_is_a_cut_even_where_the_server_calls_it_a_stop() -> None:
    def play(server: OllamaServer, request: dict[str, Any]) -> Answer:
        return server.say(request, text='{"a": "un', tokens=16, reason="stop")

    async with OllamaServer(plays=[play]) as server:
        backend = opened(server)
        done = await backend.complete(ask(max_tokens=16, json_schema={"type": "object"}))
        assert done.finish_reason == "length"
        await backend.close()


async def test_a_stream_without_a_done_line_is_degenerate_output_and_a_broken_one_is_not() -> None:
    async with OllamaServer(
        plays=["repeat guard", "dropped mid-line"], brain=lambda _: "again and again"
    ) as server:
        backend = opened(server)
        with pytest.raises(DegenerateOutput, match="degenerate output"):
            await chunks_of(backend, ask())
        with pytest.raises(MalformedReply) as caught:
            await chunks_of(backend, ask())
        assert not isinstance(caught.value, DegenerateOutput)
        await backend.close()


async def test_counts_that_the_server_omits_are_estimated_and_marked_so() -> None:
    def play(server: OllamaServer, request: dict[str, Any]) -> Answer:
        lines = list(server.lines(request))
        for name in ("prompt_eval_count", "eval_count"):
            lines[-1].pop(name)
        return as_lines(lines)

    async with OllamaServer(plays=[play], brain=lambda _: "some words here") as server:
        backend = opened(server)
        done = (await chunks_of(backend, ask()))[-1].completion
        assert done is not None
        assert done.usage.estimated
        assert done.usage.prompt_tokens > 0
        assert done.usage.completion_tokens > 0
        await backend.close()


# ---- log probabilities and scores ----------------------------------------------------------------------------


async def test_logprobs_come_with_the_alternatives_asked_for() -> None:
    async with OllamaServer(brain=lambda _: Said("3", top=({"3": 0.6, "2": 0.3, "x": 0.1},))) as server:
        backend = opened(server)
        done = await backend.complete(ask(top_logprobs=2))
        assert done.logprobs is not None
        assert [token for token, _ in done.logprobs[0].top] == ["3", "2"]
        assert (await backend.complete(ask())).logprobs is None
        await backend.close()


async def test_a_score_is_read_from_the_top_list_of_the_first_token() -> None:
    table = {"3": 0.5, " 3": 0.1, "2": 0.2, "x": 0.15}
    async with OllamaServer(brain=lambda _: Said("3", top=(table,))) as server:
        backend = opened(server)
        scored = await backend.score(scoring("\nhelpfulness:"))
        assert scored.probabilities[0] == pytest.approx((0, 0, 0.2, 0.6, 0))
        body = server.bodies[0]
        assert body["messages"][-1]["content"] == "Grade this.\nhelpfulness:"
        assert (body["top_logprobs"], body["options"]["temperature"]) == (20, 0.0)
        assert server.completions == 1
        await backend.close()


@pytest.mark.parametrize("first", [" ", "\n", '"', "“", "▁"])
async def test_after_white_space_or_a_quote_the_next_position_is_read(first: str) -> None:
    top = ({first: 0.9, "3": 0.05}, {"4": 0.7, "3": 0.2})
    async with OllamaServer(brain=lambda _: Said("abcdefgh", top=top)) as server:
        backend = opened(server)
        scored = await backend.score(scoring())
        assert scored.probabilities[0] == pytest.approx((0, 0, 0, 0.2, 0.7))
        await backend.close()


async def test_one_suffix_a_call() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        assert (await backend.capabilities()).suffixes_per_score == 1
        two = ScoreRequest(suffixes=("a", "b"), choices=DIGITS, messages=(Message("user", "x"),))
        with pytest.raises(BadRequest, match="one suffix"):
            await backend.score(two)
        with pytest.raises(BadRequest, match="begun"):
            await backend.score(replace(scoring(), begins_answer=True))
        await backend.close()


async def test_an_old_server_is_known_to_give_no_logprobs() -> None:
    async with OllamaServer(version="0.12.5") as server:
        backend = opened(server)
        able = await backend.capabilities()
        assert (able.logprobs, able.suffixes_per_score, able.json_schema) == (False, 0, True)
        with pytest.raises(BadRequest, match=r"0\.12\.11"):
            await backend.score(scoring())
        assert server.completions == 0
        await backend.close()


async def test_a_server_that_sends_no_logprobs_although_asked_is_a_malformed_reply() -> None:
    def play(server: OllamaServer, request: dict[str, Any]) -> Answer:
        return server.say({key: value for key, value in request.items() if key != "logprobs"})

    async with OllamaServer(plays=[play]) as server:
        backend = opened(server)
        with pytest.raises(MalformedReply, match="log probabilities"):
            await backend.score(scoring())
        await backend.close()


async def test_parallel_is_one_unless_the_server_here_was_told_otherwise() -> None:
    async with OllamaServer() as server:
        assert (await opened(server).capabilities()).parallel == 1
        assert (await opened(server, env={"OLLAMA_NUM_PARALLEL": "4"}).capabilities()).parallel == 4
        assert (await opened(server, env={"OLLAMA_NUM_PARALLEL": "many"}).capabilities()).parallel == 1


# ---- text ----------------------------------------------------------------------------------------------------

NASTY = "a\u0085b\u2028c\u2029d\u200d👩‍👩‍👧 é\r\n\ttab\x1b[0m \u202eNA 007"


@pytest.mark.parametrize("size", [1, 2, 5, 100_000])
async def test_a_stream_gives_every_character_however_the_bytes_are_cut(size: int) -> None:
    def play(server: OllamaServer, request: dict[str, Any]) -> Answer:
        body = b"".join(json.dumps(x, ensure_ascii=False).encode() + b"\n" for x in server.lines(request))
        return Answer(chunks=[body[at : at + size] for at in range(0, len(body), size)])

    async with OllamaServer(plays=[play], brain=lambda _: NASTY) as server:
        backend = opened(server)
        chunks = await chunks_of(backend, ask())
        assert "".join(chunk.text for chunk in chunks) == NASTY
        assert (await backend.complete(ask())).text == NASTY
        await backend.close()


async def test_what_no_file_can_hold_is_replaced_at_the_door() -> None:
    async with OllamaServer(brain=lambda _: "a\ud800b\x00c") as server:
        backend = opened(server)
        body = json.dumps(server.whole({"model": "m", "messages": []}))
        server.always = lambda *_: Answer(200, body.encode())
        assert (await backend.complete(ask())).text == "a\ufffdb\ufffdc"
        await backend.close()


# ---- time, size, trust ---------------------------------------------------------------------------------------


async def test_a_slow_load_is_waited_for_within_the_deadline() -> None:
    async with OllamaServer(always="slow load", slow_load_s=0.5) as server:
        backend = opened(server)
        assert (await backend.complete(ask(deadline_s=20.0))).finish_reason == "stop"
        assert (await chunks_of(backend, ask(deadline_s=20.0)))[-1].completion is not None
        await backend.close()


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_deadline_is_for_the_whole_answer_however_steadily_it_drips(streaming: bool) -> None:
    drip: list[Any] = [
        {"model": "m", "message": {"role": "assistant", "content": "a"}, "done": False},
        0.05,
    ] * 200
    async with OllamaServer(always=lambda *_: as_lines(drip)) as server:
        backend = opened(server)
        request = ask(deadline_s=0.4)
        with pytest.raises(TimedOut) as caught:
            await (chunks_of(backend, request) if streaming else backend.complete(request))
        assert caught.value.reached
        await backend.close()


async def test_cancelling_closes_the_connection_so_that_the_server_stops() -> None:
    async with OllamaServer(always="slow load", slow_load_s=30.0) as server:
        backend = opened(server)
        task = asyncio.create_task(backend.complete(ask()))
        while not server.completions:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not server.disconnects:
            await asyncio.sleep(0.01)
        await backend.close()


async def test_leaving_a_stream_closes_the_connection() -> None:
    async with OllamaServer(brain=lambda _: "word " * 500, piece_delay=0.05) as server:
        backend = opened(server)
        stream = backend.stream(ask())
        await anext(stream)
        await stream.aclose()
        while not server.disconnects:
            await asyncio.sleep(0.01)
        await backend.close()


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_endless_body_is_cut_off(streaming: bool) -> None:
    async with OllamaServer(always=lambda *_: Answer(chunks=[b" " * 65536] * 300)) as server:
        backend = opened(server)
        with pytest.raises(MalformedReply, match="too large"):
            await (chunks_of(backend, ask()) if streaming else backend.complete(ask()))
        await backend.close()


async def test_a_compressed_reply_is_refused_unread() -> None:
    packed = Answer(200, b"\x1f\x8b" + b"\x00" * 30, headers={"Content-Encoding": "gzip"})
    async with OllamaServer(always=lambda *_: packed) as server:
        backend = opened(server)
        with pytest.raises(MalformedReply, match="compressed"):
            await backend.complete(ask())
        assert all(r.headers["accept-encoding"] == "identity" for r in server.requests)
        await backend.close()


async def test_a_redirect_is_not_followed() -> None:
    async with OllamaServer() as other:
        moved = Answer(307, headers={"Location": f"{other.url}/api/chat"})
        async with OllamaServer(always=lambda *_: moved) as server:
            backend = opened(server)
            with pytest.raises(BadRequest, match="307"):
                await backend.complete(ask())
            assert other.requests == []
            await backend.close()


async def test_the_cloud_key_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "canary-key-1234")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with OllamaServer() as server:
        backend = opened(server, env={"OLLAMA_API_KEY": "canary-key-1234"})
        await backend.complete(ask())
        assert all("authorization" not in r.headers for r in server.requests)
        assert "canary" not in repr(vars(backend))
        await backend.close()


def test_the_cloud_key_is_for_the_cloud_alone() -> None:
    env = {"OLLAMA_API_KEY": "canary-key-1234"}
    assert open_ollama("m", Settings(ollama_host="https://ollama.com", env=env))._wire._key is not None
    for host in ("http://ollama.com", "https://ollama.com.example.org", "https://example.org", None):
        assert open_ollama("m", Settings(ollama_host=host, env=env))._wire._key is None


async def test_nobody_listening_is_not_reachable_and_no_call() -> None:
    async with OllamaServer() as server:
        url = server.url
    backend = open_ollama("llama3.2", Settings(ollama_host=url))
    for attempt in (backend.complete(ask()), chunks_of(backend, ask()), backend.models()):
        with pytest.raises(NotReachable, match="nothing answers") as caught:
            await attempt
        assert not caught.value.reached
    await backend.close()


async def test_it_can_be_closed_twice_and_used_again() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        await backend.complete(ask())
        await backend.close()
        await backend.close()
        assert (await backend.complete(ask())).text
        await backend.close()


async def test_an_overlong_prompt_never_leaves() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        with pytest.raises(ContextOverflow, match="num_ctx") as caught:
            await backend.complete(ask("word " * 8000))
        assert (caught.value.reached, server.completions) == (False, 0)
        await backend.close()
