"""The openai door against a real server: llama-cpp-python's own, with a tiny GGUF."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pairsmith.backends.errors import ContextOverflow, FieldRejected
from pairsmith.backends.protocol import Message, Request, ScoreRequest
from tests.http_doors import openai_at
from tests.servers.llama_server import running_llama_server
from tests.tiny_gguf import make_tiny_gguf

pytest.importorskip("llama_cpp.server.app", reason="llama-cpp-python's server needs its own packages")

ASK = Request((Message("user", "What is Git?"),), max_tokens=12, temperature=0.5, seed=1, deadline_s=60)
JUDGE = ScoreRequest((" helpfulness:",), ("0", "1", "2", "3", "4"), (Message("user", "Rate."),))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = make_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with running_llama_server(Path(model), "--n_ctx", "256", "--model_alias", "tiny") as url:
        yield url


async def test_it_completes_streams_and_counts(plain: str) -> None:
    door = openai_at(plain, "tiny", key=None)
    completion = await door.complete(ASK)
    assert completion.finish_reason in ("length", "stop")
    assert completion.usage.completion_tokens > 0
    assert not completion.usage.estimated
    chunks = [c async for c in door.stream(ASK)]
    assert chunks[-1].completion is not None
    assert "".join(c.text for c in chunks) == chunks[-1].completion.text
    assert [m.id for m in await door.models()] == ["tiny"]
    await door.close()


async def test_a_prompt_that_does_not_fit_is_a_context_overflow(plain: str) -> None:
    with pytest.raises(ContextOverflow):
        await openai_at(plain, "tiny", key=None).complete(Request((Message("user", "branch " * 600),)))


async def test_health_finds_that_it_can_score(plain: str) -> None:
    door = openai_at(plain, "tiny", key=None)
    assert not (await door.capabilities()).logprobs
    assert (await door.health()).ok
    assert (await door.capabilities()).suffixes_per_score == 1
    row = (await door.score(JUDGE)).probabilities[0]
    assert len(row) == 5
    assert 0 <= sum(row) <= 1


async def test_a_schema_is_asked_for_in_the_older_way_once_the_newer_was_refused(plain: str) -> None:
    door = openai_at(plain, "tiny", key=None)
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    ask = replace(ASK, json_schema=schema, max_tokens=60)
    with pytest.raises(FieldRejected):
        await door.complete(ask)
    assert (await door.capabilities()).json_schema
    assert json.loads((await door.complete(ask)).text)["a"] in (1, 2)
