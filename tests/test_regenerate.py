"""Regenerating a response: another version beside the old one, booked, undone in one step; from the keyboard too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.regenerate import regenerate
from pairsmith.pairs.store.calls import book_interrupted, get_call
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.errors import DuplicatePair
from pairsmith.pairs.store.journal import undo
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair, get_versions
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace

from .generation import make_workspace, settings_for
from .screens import press, reviewing, screen_text, until
from .servers.nim import Answer, NimServer


def with_pair(folder: Path) -> Workspace:
    workspace = make_workspace(folder)
    workspace.write(lambda conn: add_pair(conn, NewPair("How do I undo a commit?", "git reset")))
    return workspace


def calls(workspace: Workspace) -> list[tuple[str, str, str | None]]:
    return workspace.read(
        lambda conn: conn.execute("SELECT state, subject, reason FROM call ORDER BY id").fetchall()
    )


async def test_a_new_response_is_chosen_undecided_and_undone_in_one_step(tmp_path: Path) -> None:
    with with_pair(tmp_path) as workspace:
        workspace.write(lambda conn: decide(conn, [1], "accepted"))
        async with NimServer(brain=lambda body: "Use git revert.") as server:
            await regenerate(workspace, 1, settings_for(server))
        pair = workspace.read(lambda conn: get_pair(conn, 1))
        assert (pair.output, pair.verdict, pair.versions) == ("Use git revert.", "undecided", 2)
        assert pair.version.maker == "model"
        assert pair.version.call_id == 1
        assert calls(workspace) == [("useful", "pair 1", None)]
        workspace.write(undo)
        pair = workspace.read(lambda conn: get_pair(conn, 1))
        assert (pair.output, pair.verdict) == ("git reset", "accepted")


@pytest.mark.parametrize(
    ("answer", "loss"),
    [
        ("git reset", "same as before"),
        ("", "holds no text"),
        (Answer("It is", finish="length"), "cut off"),
        ("I'm sorry, but I can't assist with that.", "refused"),
    ],
)
async def test_an_answer_that_is_no_response_changes_nothing_and_is_booked(
    tmp_path: Path, answer: Any, loss: str
) -> None:
    with with_pair(tmp_path) as workspace:
        async with NimServer(brain=lambda body: answer) as server:
            with pytest.raises((PairsmithError, BackendError), match=loss):
                await regenerate(workspace, 1, settings_for(server))
        assert len(workspace.read(lambda conn: get_versions(conn, 1))) == 1
        assert calls(workspace)[-1][0] == "failed"


async def test_a_response_to_what_a_pair_no_longer_says_is_kept_and_not_chosen(tmp_path: Path) -> None:
    with with_pair(tmp_path) as workspace:

        def brain(body: Any) -> str:
            workspace.write(lambda conn: edit_pair(conn, 1, instruction="How do I undo a merge?"))
            return "git reset --soft HEAD~1"

        async with NimServer(brain=brain) as server:
            with pytest.raises(PairsmithError, match="edited meanwhile"):
                await regenerate(workspace, 1, settings_for(server))
        pair = workspace.read(lambda conn: get_pair(conn, 1))
        assert (pair.instruction, pair.output) == ("How do I undo a merge?", "git reset")
        versions = workspace.read(lambda conn: get_versions(conn, 1))
        assert (versions[-1].instruction, versions[-1].output) == (
            "How do I undo a commit?",
            "git reset --soft HEAD~1",
        )
        assert calls(workspace) == [("useful", "pair 1", None)]


async def test_a_response_that_another_pair_has_already_is_refused_and_its_call_is_booked(
    tmp_path: Path,
) -> None:
    with with_pair(tmp_path) as workspace:
        imported = NewPair("How do I undo a commit?", "git revert", origin="imported")
        workspace.write(lambda conn: add_pair(conn, imported))
        async with NimServer(brain=lambda body: "git revert") as server:
            with pytest.raises(DuplicatePair):
                await regenerate(workspace, 1, settings_for(server))
        assert calls(workspace) == [("useful", "pair 1", None)]


async def test_a_job_that_starts_meanwhile_does_not_cost_the_answer(tmp_path: Path) -> None:
    with with_pair(tmp_path) as workspace:

        def brain(body: Any) -> str:
            assert workspace.write(book_interrupted) == 1
            return "git revert"

        async with NimServer(brain=brain) as server:
            await regenerate(workspace, 1, settings_for(server))
        assert calls(workspace) == [("useful", "pair 1", None)]
        call = workspace.read(lambda conn: get_call(conn, 1))
        assert call.answer == "git revert"
        assert call.tokens_out > 0


async def test_g_asks_the_generator_and_v_compares(tmp_path: Path) -> None:
    with with_pair(tmp_path) as workspace:
        brain = "git reset --soft HEAD~1"
        async with NimServer(brain=lambda body: brain) as server, reviewing(workspace, **server.env) as pilot:
            await press(pilot, "g")
            await until(pilot, lambda: "#001 has a new response" in screen_text(pilot.app), "the response")
            await press(pilot, "v")
            assert "{+ --soft HEAD~1+}" in screen_text(pilot.app)
            await press(pilot, "v", "x")
            assert workspace.read(lambda conn: get_pair(conn, 1)).output == "git reset"


async def test_a_server_that_is_gone_is_said_and_ends_nothing(tmp_path: Path) -> None:
    env = {"NVIDIA_API_KEY": "nvapi-x", "PAIRSMITH_NIM_URL": "http://127.0.0.1:9/v1"}
    with with_pair(tmp_path) as workspace:
        async with reviewing(workspace, **env) as pilot:
            await press(pilot, "g")
            assert "✗" in screen_text(pilot.app).splitlines()[3]
            assert workspace.read(lambda conn: get_pair(conn, 1)).versions == 1
