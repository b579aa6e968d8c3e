"""A prompt that does not fit Ollama's window is an error, never half an answer: before the call and after it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.backends.errors import ContextOverflow
from pairsmith.backends.ollama import OllamaBackend, open_ollama
from pairsmith.backends.ollama_window import Counts, check_after, check_before, estimate_tokens
from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings
from tests.servers.ollama import FakeModel, OllamaServer
from tests.servers.ollama_plays import Answer

RENDERED = FakeModel("llama3.2:latest", rendered=True)
DENSE = "数据" * 2500
"""5,000 tokens to the server, and by our estimate (characters / 3.5) only 1,429."""


def opened(server: OllamaServer, **settings: Any) -> OllamaBackend:
    return open_ollama("llama3.2", Settings(ollama_host=server.url, **settings))


def ask(text: str, *before: Message, **more: Any) -> Request:
    return Request(messages=(*before, Message("user", text)), **more)


@pytest.mark.parametrize("model", [FakeModel(), RENDERED], ids=["native", "rendered"])
async def test_a_new_server_is_told_not_to_cut_and_refuses_instead(model: FakeModel) -> None:
    async with OllamaServer(models=[model]) as server:
        backend = opened(server, n_ctx=4096)
        with pytest.raises(ContextOverflow, match="num_ctx"):
            await backend.complete(ask(DENSE))
        await backend.close()


async def test_an_old_server_cuts_in_silence_and_is_found_out_by_its_count() -> None:
    async with OllamaServer(models=[RENDERED], version="0.12.5") as server:
        backend = opened(server, n_ctx=4096)
        with pytest.raises(ContextOverflow, match="2050 prompt tokens"):
            await backend.complete(ask(DENSE))
        with pytest.raises(ContextOverflow, match="2050 prompt tokens"):
            assert [chunk async for chunk in backend.stream(ask(DENSE))]
        await backend.close()


async def test_dropped_messages_are_found_out_on_a_server_too_old_to_be_told() -> None:
    def play(server: OllamaServer, request: dict[str, Any]) -> Answer:
        return server.say(request, prompt_tokens=900)

    turns = (Message("user", "word " * 900), Message("assistant", "word " * 900))
    async with OllamaServer(always=play, version="0.12.5") as server:
        backend = opened(server, n_ctx=4096)
        with pytest.raises(ContextOverflow, match="900 prompt tokens"):
            await backend.complete(ask("word " * 600, *turns))
        await backend.close()


async def test_the_context_really_allocated_is_what_counts() -> None:
    async with OllamaServer(allocate=2048, models=[RENDERED], version="0.12.6") as server:
        backend = opened(server)
        assert (await backend.complete(ask("Hello"))).text
        assert (await backend.capabilities()).context_length == 2048
        with pytest.raises(ContextOverflow) as caught:
            await backend.complete(ask("word " * 2000))
        assert not caught.value.reached
        assert {body["options"]["num_ctx"] for body in server.bodies} == {8192}
        await backend.close()


async def test_the_allocated_context_is_asked_for_once_and_again_after_a_load() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        for _ in range(3):
            await backend.complete(ask("Hello"))
        asked = [r.path for r in server.requests].count("/api/ps")
        assert asked == 1
        server.loaded.clear()
        await backend.complete(ask("Hello"))
        assert [r.path for r in server.requests].count("/api/ps") == 2
        await backend.close()


@pytest.mark.parametrize("window", [2048, 4096, 8192, 32768])
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_half_a_window_is_the_mark_of_a_cut(window: int, off: int) -> None:
    with pytest.raises(ContextOverflow, match="half"):
        check_after(["短" * window], Counts(window // 2 + 2 + off, 10), window)


def test_the_same_count_is_honest_where_the_text_explains_it_and_cannot_overflow() -> None:
    check_after(["x" * 2100], Counts(2050, 10), 4096)


@pytest.mark.parametrize("prompt", [4095, 4096, 5000])
def test_a_prompt_as_long_as_the_window_left_no_room(prompt: int) -> None:
    with pytest.raises(ContextOverflow, match="whole window"):
        check_after(["x"], Counts(prompt, 1), 4096)


def test_a_shifted_window_shows_in_the_sum_of_the_counts() -> None:
    with pytest.raises(ContextOverflow, match="generated"):
        check_after(["x"], Counts(1000, 4000), 4096)
    check_after(["x"], Counts(1000, 3096), 4096)


def test_no_counts_no_verdict() -> None:
    check_after(["x" * 100_000], Counts(None, None), 4096)


@given(tokens=st.integers(1, 8000), per_token=st.floats(1.0, 6.5))
def test_honest_counts_of_ordinary_text_are_never_called_a_cut(tokens: int, per_token: float) -> None:
    text = ("abcdefghij" * (int(tokens * per_token) // 10 + 1))[: max(1, int(tokens * per_token))]
    window = tokens + 102
    check_after([text], Counts(tokens, 100), max(window, 8192) if abs(tokens - 4098) > 1 else 32768)


def test_runs_of_one_character_are_few_tokens_and_no_cut() -> None:
    check_after(["=" * 5000 + "x" * 5000], Counts(700, 1), 8192)


def test_the_estimate_and_the_room_for_the_answer_must_fit() -> None:
    text = "x" * 3500
    assert estimate_tokens([text]) == 1000
    check_before([text], 24, 1024)
    with pytest.raises(ContextOverflow, match="1000 prompt tokens and 25"):
        check_before([text], 25, 1024)
