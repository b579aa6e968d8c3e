"""What the llama-cpp door answers: text, streams, schemas, log-probabilities, stop strings, seeds."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from pairsmith.backends import errors
from pairsmith.backends.llama_cpp.backend import LlamaCppBackend, open_llama_cpp
from pairsmith.backends.llama_cpp.sampling import preferred
from pairsmith.backends.protocol import Backend, Message, Request
from pairsmith.backends.registry import Settings

from .tiny_gguf import make_markov_gguf, make_tiny_gguf

LINES = (
    "1. Explain how to create a new branch in Git.\n2. Show how to merge a branch.\n"
    "3. Write a command that deletes a remote branch.\n4. Compare merge and rebase in Git.\n"
)
USER = (Message("user", "List tasks"),)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_markov_gguf(folder / "babbler.gguf", LINES)
    make_tiny_gguf(folder / "random.gguf")
    make_tiny_gguf(folder / "base.gguf", arch="gpt2", chat_template=None)
    return folder


@pytest.fixture
async def babbler(models: Path) -> AsyncIterator[LlamaCppBackend]:
    backend = open_llama_cpp(str(models / "babbler.gguf"), Settings())
    yield backend
    await backend.close()


@pytest.fixture
async def noise(models: Path) -> AsyncIterator[LlamaCppBackend]:
    backend = open_llama_cpp(str(models / "random.gguf"), Settings())
    yield backend
    await backend.close()


async def test_speaks_the_protocol(babbler: LlamaCppBackend) -> None:
    assert isinstance(babbler, Backend)
    health = await babbler.health()
    assert health.ok, health.summary
    can = await babbler.capabilities()
    assert can.chat
    assert can.json_schema
    assert can.logprobs
    assert can.seed
    assert can.parallel >= 3
    assert can.suffixes_per_score >= 5
    assert can.context_length == 1024


async def test_answers_with_usage_and_provenance(babbler: LlamaCppBackend, models: Path) -> None:
    answer = await babbler.complete(Request(messages=USER, max_tokens=40, seed=7))
    assert set(answer.text.split()) <= set(LINES.split()) | {w.rstrip(".") for w in LINES.split()}
    assert 0 < answer.usage.completion_tokens <= 40
    assert answer.usage.prompt_tokens > 5
    assert answer.details["seed"] == 7
    assert len(answer.details["sha256"]) == 64
    assert answer.details["gguf"] == "babbler.gguf"
    json.dumps(dict(answer.details))


async def test_a_seed_is_drawn_and_recorded_where_none_is_given(babbler: LlamaCppBackend) -> None:
    first = await babbler.complete(Request(messages=USER, max_tokens=40, temperature=1.0))
    again = await babbler.complete(
        Request(messages=USER, max_tokens=40, temperature=1.0, seed=first.details["seed"])
    )
    assert again.text == first.text


async def test_the_seed_that_means_random_to_llama_cpp_is_fixed_too(babbler: LlamaCppBackend) -> None:
    request = Request(messages=USER, max_tokens=40, temperature=1.0, seed=0xFFFFFFFF)
    texts = {(await babbler.complete(request)).text for _ in range(4)}
    assert len(texts) == 1


async def test_a_token_limit_ends_with_length(noise: LlamaCppBackend) -> None:
    answer = await noise.complete(Request(messages=USER, max_tokens=5, temperature=0))
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 5)


async def test_a_stop_string_that_straddles_tokens_is_cut_off(babbler: LlamaCppBackend) -> None:
    stops = ("ranch.", "it.", "base")
    request = Request(messages=USER, max_tokens=200, seed=3)
    whole = (await babbler.complete(request)).text
    answer = await babbler.complete(replace(request, stop=stops))
    assert answer.finish_reason == "stop"
    assert answer.text == whole[: min(whole.index(stop) for stop in stops if stop in whole)]


async def test_a_stream_adds_up_to_the_answer(babbler: LlamaCppBackend) -> None:
    request = Request(messages=USER, max_tokens=60, seed=5, stop=("rebase in",))
    pieces = [chunk async for chunk in babbler.stream(request)]
    last = pieces[-1].completion
    assert last is not None
    assert "".join(p.text for p in pieces) == last.text
    assert len(pieces) > 3


@pytest.mark.parametrize("seed", range(4))
async def test_schema_bound_text_parses(noise: LlamaCppBackend, seed: int) -> None:
    schema = {
        "type": "object",
        "properties": {
            "grade": {"type": "integer", "minimum": 0, "maximum": 4},
            "items": {
                "type": "array",
                "items": {"type": "string", "maxLength": 8},
                "minItems": 2,
                "maxItems": 3,
            },
        },
        "required": ["grade", "items"],
    }
    request = Request(messages=USER, max_tokens=400, json_schema=schema, seed=seed, temperature=1.0)
    answer = await noise.complete(request)
    assert answer.finish_reason == "stop"
    value = json.loads(answer.text)
    assert value["grade"] in range(5)
    assert 2 <= len(value["items"]) <= 3


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"$ref": "https://example.org/x"}, {"type": "string", "pattern": "("}]
)
async def test_a_schema_that_makes_no_grammar_is_a_bad_request(
    noise: LlamaCppBackend, schema: dict[str, object]
) -> None:
    with pytest.raises(errors.BadRequest):
        await noise.complete(Request(messages=USER, max_tokens=4, json_schema=schema))
    assert (await noise.complete(Request(messages=USER, max_tokens=4))).usage.completion_tokens


async def test_logprobs_name_the_chosen_token_and_the_likeliest(noise: LlamaCppBackend) -> None:
    answer = await noise.complete(Request(messages=USER, max_tokens=6, temperature=0, top_logprobs=3))
    assert answer.logprobs is not None
    assert len(answer.logprobs) == 6
    for token in answer.logprobs:
        assert len(token.top) == 3
        assert token.top[0] == (token.token, token.logprob)
        assert sum(math.exp(p) for _, p in token.top) <= 1.0001


async def test_text_never_holds_half_a_character(noise: LlamaCppBackend) -> None:
    for seed in range(6):
        request = Request(messages=USER, max_tokens=80, temperature=2.0, seed=seed)
        pieces = [c async for c in noise.stream(request)]
        assert "".join(p.text for p in pieces).encode().decode() == pieces[-1].completion.text  # type: ignore[union-attr]


async def test_a_model_without_template_gets_a_plain_prompt(models: Path) -> None:
    backend = open_llama_cpp(str(models / "base.gguf"), Settings())
    try:
        assert not (await backend.capabilities()).chat
        chat = await backend.complete(Request(messages=USER, max_tokens=6, temperature=0))
        head = (
            "Below is an instruction that describes a task. "
            "Write a response that appropriately completes the request."
        )
        plain = await backend.complete(
            Request(
                prompt=f"{head}\n\n### Instruction:\nList tasks\n\n### Response:\n",
                max_tokens=6,
                temperature=0,
            )
        )
        assert chat.text == plain.text
    finally:
        await backend.close()


async def test_a_prompt_that_is_too_long_is_refused_before_anything_runs(noise: LlamaCppBackend) -> None:
    with pytest.raises(errors.ContextOverflow, match="1024"):
        await noise.complete(Request(prompt="word " * 5000, max_tokens=5))


async def test_an_answer_stops_where_the_window_ends(tmp_path: Path) -> None:
    endless = make_markov_gguf(tmp_path / "endless.gguf", LINES, end=0.0)
    backend = open_llama_cpp(str(endless), Settings())
    try:
        answer = await backend.complete(Request(messages=USER, max_tokens=5000, temperature=0))
    finally:
        await backend.close()
    assert answer.finish_reason == "length"
    assert answer.usage.prompt_tokens + answer.usage.completion_tokens == 1024


async def test_an_empty_request_is_a_bad_request(noise: LlamaCppBackend) -> None:
    with pytest.raises(errors.BadRequest):
        await noise.complete(Request())


async def test_a_deadline_ends_a_long_answer(noise: LlamaCppBackend) -> None:
    await noise.capabilities()
    with pytest.raises(errors.TimedOut):
        await noise.complete(Request(messages=USER, max_tokens=900, temperature=0, deadline_s=0.001))
    assert (await noise.complete(Request(messages=USER, max_tokens=2))).usage.completion_tokens


async def test_cancelling_the_task_frees_its_place(tmp_path: Path) -> None:
    endless = make_markov_gguf(tmp_path / "endless.gguf", LINES, context=8192, end=0.0)
    settings = Settings(n_parallel=2, env={"PAIRSMITH_LLAMA_LANES": "1"})
    backend = open_llama_cpp(str(endless), settings)
    begun = asyncio.Event()

    async def listen() -> None:
        async for _ in backend.stream(Request(messages=USER, max_tokens=8000, temperature=0)):
            begun.set()

    try:
        long = asyncio.create_task(listen())
        await begun.wait()
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        answer = await backend.complete(Request(messages=USER, max_tokens=2))
        assert answer.details["alone"]
    finally:
        await backend.close()


async def test_a_shared_beginning_is_computed_once(noise: LlamaCppBackend) -> None:
    shared = "The instruction describes a task and the response completes it. " * 6
    answers = await asyncio.gather(
        *[
            noise.complete(Request(prompt=f"{shared} number {n}", max_tokens=4, temperature=0))
            for n in range(12)
        ]
    )
    computed = sum(a.usage.prompt_tokens - a.usage.cached_tokens for a in answers)
    assert computed < 2.5 * answers[0].usage.prompt_tokens


async def test_a_file_says_how_it_wants_to_be_sampled_where_a_request_leaves_it_open(tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "calm.gguf", extra={"general.sampling.temp": 0.0})
    backend = open_llama_cpp(str(path), Settings())
    try:
        left_open = [await backend.complete(Request(USER, max_tokens=20, seed=seed)) for seed in (1, 2)]
        asked = await backend.complete(Request(USER, max_tokens=20, temperature=1.9, seed=1))
    finally:
        await backend.close()
    assert left_open[0].text == left_open[1].text != asked.text


@pytest.mark.parametrize("said", [-1.0, 7.0, math.nan, "0.1", True])
def test_a_file_that_asks_for_nonsense_is_not_believed(said: object) -> None:
    assert preferred({"general.sampling.min_p": said, "general.sampling.top_k": said}) == preferred({})
