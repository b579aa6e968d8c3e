"""Same seed, same text: what is promised byte for byte, and what is shown where it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pairsmith.backends import errors
from pairsmith.backends.llama_cpp.backend import LlamaCppBackend, open_llama_cpp
from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings

from .tiny_gguf import make_tiny_gguf


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gguf(tmp_path_factory.mktemp("models") / "random.gguf", quant="q8_0", scale=0.1)


@pytest.fixture
async def strict(model: Path) -> AsyncIterator[LlamaCppBackend]:
    backend = open_llama_cpp(str(model), Settings(env={"PAIRSMITH_LLAMA_REPRODUCIBLE": "1"}))
    yield backend
    await backend.close()


@pytest.fixture
async def batched(model: Path) -> AsyncIterator[LlamaCppBackend]:
    backend = open_llama_cpp(str(model), Settings())
    yield backend
    await backend.close()


def request(n: int) -> Request:
    shared = "Write a short answer to the instruction. " * 5
    user = Message("user", f"{shared} number {n} {'more ' * (n * 3)}")
    return Request(messages=(user,), max_tokens=40, temperature=1.0, seed=n)


async def test_reproducible_mode_gives_the_same_bytes_whatever_else_is_asked(strict: LlamaCppBackend) -> None:
    assert (await strict.capabilities()).parallel == 1
    forward = await asyncio.gather(*[strict.complete(request(n)) for n in range(8)])
    backward = await asyncio.gather(*[strict.complete(request(n)) for n in reversed(range(8))])
    assert [a.text for a in forward] == [a.text for a in reversed(backward)]
    assert all(a.details["reproducible"] and a.details["alone"] for a in forward)


async def test_reproducible_mode_survives_a_restart(strict: LlamaCppBackend, model: Path) -> None:
    before = await strict.complete(request(3))
    await strict.close()
    again = open_llama_cpp(str(model), Settings(env={"PAIRSMITH_LLAMA_REPRODUCIBLE": "1"}))
    try:
        assert (await again.complete(request(3))).text == before.text
    finally:
        await again.close()


async def test_a_replay_of_a_reproducible_text_does_not_depart(strict: LlamaCppBackend) -> None:
    recorded = await strict.complete(request(2))
    replayed = await strict.replay(request(2), recorded.text)
    assert replayed.details["departure"] is None
    assert replayed.text == recorded.text


async def test_a_replay_of_a_batched_text_departs_only_where_chance_was_undecided(
    batched: LlamaCppBackend,
) -> None:
    recorded = await asyncio.gather(*[batched.complete(request(n)) for n in range(12)])
    departed = 0
    for n, answer in enumerate(recorded):
        replayed = await batched.replay(request(n), answer.text)
        departure = replayed.details["departure"]
        if departure is None:
            assert replayed.text == answer.text
        else:
            departed += 1
            assert departure["recorded_probability"] > 0
            assert answer.text.startswith(replayed.text)
    assert departed <= 3


async def test_a_replay_shows_where_a_foreign_text_departs(batched: LlamaCppBackend) -> None:
    greedy = Request(prompt="Grade the response", max_tokens=20, temperature=0)
    recorded = await batched.complete(greedy)
    other = recorded.text[:6] + "Z" + recorded.text[7:]
    departure = (await batched.replay(greedy, other)).details["departure"]
    assert departure["character"] <= 6
    assert departure["replayed"] != departure["recorded"]
    assert departure["replayed_probability"] >= departure["recorded_probability"]
    assert departure["gap"] >= 0


async def test_a_replay_of_a_text_cut_at_a_stop_string_does_not_depart(batched: LlamaCppBackend) -> None:
    whole = await batched.complete(Request(prompt="Grade the response", max_tokens=30, temperature=0))
    stop = whole.text[8:11]
    asked = Request(prompt="Grade the response", max_tokens=30, temperature=0, stop=(stop,))
    recorded = await batched.complete(asked)
    assert recorded.finish_reason == "stop"
    replayed = await batched.replay(asked, recorded.text)
    assert replayed.details["departure"] is None
    assert replayed.text == recorded.text


async def test_a_replay_needs_the_seed(batched: LlamaCppBackend) -> None:
    with pytest.raises(errors.BadRequest, match="seed"):
        await batched.replay(Request(prompt="x"), "y")
