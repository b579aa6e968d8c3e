"""`pairsmith replay`: a pair written by llama.cpp, asked for again from its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings, open_backend, parse_spec
from pairsmith.pairs.calling import Caller
from pairsmith.pairs.limits import Budget, Limits
from pairsmith.pairs.replaying import CannotReplay, replay_pair
from pairsmith.pairs.store.pair_rows import NewPair, Pair, add_pair, get_pair
from pairsmith.pairs.store.workspace import Workspace

from .command_line import run
from .stores import new_workspace
from .tiny_gguf import make_tiny_gguf

QUESTION = (Message("user", "Write something"),)


async def write_pair(workspace: Workspace, model: Path, **fields: Any) -> Pair:
    """One pair whose response the model wrote, booked as a job books it."""
    backend = open_backend(parse_spec(f"llama-cpp:{model}"), Settings())
    caller = Caller(workspace, None, Budget(Limits()), Settings())

    async def door() -> Any:
        return backend

    request = Request(QUESTION, max_tokens=24, **fields)
    try:
        answered = await caller.complete(door, request, purpose="response", subject="test")
    finally:
        await backend.close()

    def store(conn: Any) -> Pair:
        answered.close(conn)
        new = NewPair("Write something", answered.answer.text or "nothing", call_id=answered.call_id)
        return get_pair(conn, add_pair(conn, new))

    return await workspace.awrite(store)


@pytest.mark.parametrize(
    "fields", [{"temperature": 0.0}, {"temperature": 0.9, "seed": 7}, {"temperature": 0.9}]
)
async def test_an_answer_made_alone_comes_again_token_for_token(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    model = make_tiny_gguf(tmp_path / "model.gguf")
    with new_workspace(tmp_path) as workspace:
        pair = await write_pair(workspace, model, **fields)
        replay = await replay_pair(workspace, pair, Settings())
        assert (replay.identical, replay.was_alone) == (True, True)
        assert replay.replayed == replay.recorded


async def seed_that_writes(wanted: str, model: Path) -> int:
    """A seed with which the answer that `write_pair` gets has the text in it."""
    backend = open_backend(parse_spec(f"llama-cpp:{model}"), Settings())
    try:
        for seed in range(500):
            request = Request(QUESTION, max_tokens=24, temperature=0.9, seed=seed)
            if wanted in (await backend.complete(request)).text:
                return seed
    finally:
        await backend.close()
    raise AssertionError(f"no answer has {wanted!r}")


async def test_what_no_store_can_hold_is_no_departure(tmp_path: Path) -> None:
    model = make_tiny_gguf(tmp_path / "model.gguf")
    seed = await seed_that_writes("\x00", model)
    with new_workspace(tmp_path) as workspace:
        pair = await write_pair(workspace, model, temperature=0.9, seed=seed)
        replay = await replay_pair(workspace, pair, Settings())
        assert "\ufffd" in replay.recorded
        assert replay.identical
        assert replay.replayed == replay.recorded


async def test_another_file_under_the_same_name_is_told_and_not_compared(tmp_path: Path) -> None:
    model = make_tiny_gguf(tmp_path / "model.gguf")
    with new_workspace(tmp_path) as workspace:
        pair = await write_pair(workspace, model, temperature=0.0)
        model.unlink()
        make_tiny_gguf(model, seed=5)
        with pytest.raises(CannotReplay, match="another file now"):
            await replay_pair(workspace, pair, Settings())


async def test_a_changed_record_parts_from_the_replay_at_a_named_token(tmp_path: Path) -> None:
    model = make_tiny_gguf(tmp_path / "model.gguf")
    with new_workspace(tmp_path) as workspace:
        pair = await write_pair(workspace, model, temperature=0.0)
        workspace.write(lambda conn: conn.execute("UPDATE call SET answer = 'zzz' || substr(answer, 4)"))
        replay = await replay_pair(workspace, pair, Settings())
        assert replay.departure is not None
        assert replay.departure["token"] == 0


async def test_the_command_says_what_came_of_it(tmp_path: Path) -> None:
    model = make_tiny_gguf(tmp_path / "model.gguf")
    with new_workspace(tmp_path) as workspace:
        pair = await write_pair(workspace, model, temperature=0.0)
        workspace.write(lambda conn: add_pair(conn, NewPair("Imported", "text", origin="imported")))
        path = workspace.path
    same = run("replay", path, pair.id)
    assert same.code == 0
    assert "token for token" in same.out
    run("replay", path, pair.id + 1).assert_one_line_error(1, "no version", "written by a model")
    run("replay", path, 99).assert_one_line_error(1, "99")
    run("replay", path, "x").assert_one_line_error(2, "number of a pair")
