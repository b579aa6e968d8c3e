"""The whole way by keys, from an empty folder to a written dataset; and changing the makers of a run that runs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.run_plan import RunPlan, write_plan
from pairsmith.pairs.store.stats import count_verdicts
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.tui.screens.review import ReviewScreen

from .brains import DefectiveLists, prompt_of
from .generation import GENERATOR, REWARD, make_workspace
from .servers.nim import Answer, NimServer
from .servers.ollama import OllamaServer
from .servers.ollama_parts import FakeModel, Said
from .tiny_gguf import make_markov_gguf
from .tui_pilot import application, environment, screen_text, type_text, until, until_shown

OLLAMA, LLAMA = "ollama:llama3.2", "llama-cpp:babbler"


async def test_from_an_empty_folder_to_a_dataset_by_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with (
        NimServer(DefectiveLists(seed=5)) as server,
        application(environment(tmp_path, server)) as (app, pilot),
    ):
        await until_shown(pilot, "No workspace yet.")
        await pilot.press("n")
        await until_shown(pilot, "A new workspace")
        await type_text(pilot, "Git commands in plain language")
        await pilot.press("enter")
        await until_shown(pilot, "No topics yet.")
        await pilot.press("4")
        await until_shown(pilot, "No pair was generated here yet.")
        await pilot.press("G")
        await until_shown(pilot, "Which model writes the pairs?")
        await until_shown(pilot, "nim:meta/llama-3.1-405b-instruct")
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.session.generator == GENERATOR)
        await pilot.press("J")
        await until_shown(pilot, "Which model scores the pairs?")
        await type_text(pilot, REWARD)
        await pilot.press("enter")
        await until(pilot, lambda: app.session.judge == REWARD)
        await pilot.press("3")
        await until_shown(pilot, "No topics yet.")
        await pilot.press("s")
        await until_shown(pilot, "Suggest topics")
        await pilot.press("enter")
        await until_shown(pilot, "Resolving conflicts")
        await pilot.press("n")
        await until_shown(pilot, "How many pairs")
        await pilot.press("ctrl+u", *"12", "enter")
        await until_shown(pilot, "asked 12 · planned 12")
        await pilot.press("g")
        await until_shown(pilot, "✓ done", 40)
        assert "kept 12" in screen_text(app)
        await pilot.press("5")
        await until(pilot, lambda: isinstance(app.screen, ReviewScreen))
        await until_shown(pilot, "of 12")
        await pilot.press("a", "r")
        workspace = app.session.workspace
        assert workspace is not None
        await until(
            pilot, lambda: workspace.read(count_verdicts) == {"undecided": 10, "accepted": 1, "rejected": 1}
        )
        await pilot.press("8")
        await until_shown(pilot, "11 pairs: 1 accepted, 10 undecided")
        await pilot.press("g")
        await until_shown(pilot, "✓ 11 pairs")
    lines = (tmp_path / "git-commands-in.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 11
    assert all(json.loads(text)["scores"] for text in lines)


class Gate:
    """A NIM that writes so many responses, and then holds the others until it is opened. It judges at once."""

    def __init__(self, free: int) -> None:
        self._brain = DefectiveLists(seed=7, chance=0, topics=("One", "Two", "Three"))
        self._free = free
        self.open = asyncio.Event()
        self.held = 0

    async def __call__(self, body: dict[str, Any]) -> str | Answer:
        text = self._brain(body)
        if text.startswith("To do that"):
            self._free -= 1
            if self._free < 0:
                self.held += 1
                await self.open.wait()
        return text


def judges(request: Mapping[str, Any]) -> bool:
    return any("You grade a response" in message["content"] for message in request["messages"])


def ollama_brain(request: Mapping[str, Any]) -> Said:
    """Responses, and digits where a rubric asks for one."""
    if judges(request):
        return Said("3", top=({"3": 0.7, "2": 0.2, "4": 0.1},))
    return Said(f"With Ollama: {prompt_of(request)}")


class SlowAfter:
    """Quick for so many responses and digits, then slow, so that a switch happens while calls are in flight."""

    def __init__(self, responses: int, digits: int) -> None:
        self._free = {False: responses, True: digits}
        self.responses = 0

    def __call__(self, server: OllamaServer, request: dict[str, Any]) -> Any:
        judging = judges(request)
        self._free[judging] -= 1
        self.responses += not judging
        # digits come by turns: where many pairs wait, none has all of its own before most were asked
        slow = 0.25 if judging else 5.0
        return server.say(request, delay=0.0 if self._free[judging] >= 0 else slow)


def count_by(workspace: Workspace, judge: str) -> int:
    """Pairs that a judge scored."""
    query = "SELECT count(*) FROM judgement WHERE judge = ? AND state = 'scored'"
    return int(workspace.read(lambda conn: conn.execute(query, (judge,)).fetchone()[0]))


def asked_to_write(server: NimServer) -> int:
    """Requests to the model that writes."""
    posts = [request.json for request in server.requests if request.method == "POST"]
    return sum("reward" not in body["model"] for body in posts)


async def choose(pilot: Any, key: str, spec: str) -> None:
    """G or J, the model's name, enter; until it is the workspace's."""
    kind = {"G": "generator", "J": "judge"}[key]
    await pilot.press(key)
    await until_shown(pilot, "Which model")
    await type_text(pilot, spec)
    await pilot.press("enter")
    workspace = pilot.app.session.workspace
    await until(pilot, lambda: workspace.meta(kind) == spec and len(pilot.app.screen_stack) == 1)


async def test_generator_and_judge_change_three_times_while_a_run_runs(tmp_path: Path) -> None:
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    verbs, things = (
        ("show", "delete", "rename", "merge", "compare"),
        ("branch", "commit", "tag", "remote", "stash"),
    )
    make_markov_gguf(
        models / "babbler.gguf", "\n".join(f"{v} every old {t}" for v in verbs for t in things), end=0.9
    )
    gate, slow = Gate(free=12), SlowAfter(responses=15, digits=60)
    workspace = make_workspace(tmp_path, judge=REWARD, topics=["One", "Two", "Three"])
    workspace.write(lambda conn: write_plan(conn, RunPlan(60)))
    installed = [FakeModel("llama3.2:latest")]
    async with (
        NimServer(gate) as nim,
        OllamaServer(brain=ollama_brain, models=installed, always=slow) as ollama,
    ):
        env = environment(tmp_path, nim, OLLAMA_HOST=ollama.url)
        async with application(env, workspace, start="generate") as (app, pilot):
            await until_shown(pilot, "generates 60 pairs")
            await pilot.press("g")
            await until(pilot, lambda: gate.held >= 4)
            await choose(pilot, "G", OLLAMA)
            written_by_nim = asked_to_write(nim)
            gate.open.set()
            await until(pilot, lambda: count_by(workspace, REWARD) > 4)
            await choose(pilot, "J", OLLAMA)
            asked_of_nim = nim.completions
            await until(pilot, lambda: slow.responses > 15)
            await choose(pilot, "G", LLAMA)
            await until(pilot, lambda: count_by(workspace, OLLAMA) > 4)
            await choose(pilot, "J", LLAMA)
            asked_of_ollama = ollama.completions
            await until_shown(pilot, "✓ done", 90)
            assert asked_to_write(nim) == written_by_nim
            assert nim.completions == asked_of_nim
            assert ollama.completions == asked_of_ollama
            state = app.jobs.state
            assert state is not None
            assert state.ledger is not None
            assert (state.ledger.kept, state.ledger.missing) == (60, 0)
            assert state.ledger.balance() == []
            switched = {told.text for told in state.told if told.kind == "switched"}
            kinds = ("generator", "judge")
            assert switched == {f"the {kind} is now {spec}" for spec in (OLLAMA, LLAMA) for kind in kinds}

        def makers(conn: Any) -> tuple[Counter[str], Counter[str]]:
            rows = conn.execute(
                "SELECT call.backend || ':' || call.model FROM pair JOIN version ON version.id = pair.version_id"
                " JOIN call ON call.id = version.call_id WHERE pair.removed = 0"
            ).fetchall()
            judges = conn.execute(
                "SELECT judgement.judge FROM pair JOIN judgement ON judgement.version_id = pair.version_id"
            ).fetchall()
            return Counter(row[0] for row in rows), Counter(row[0] for row in judges)

    with open_workspace(workspace.path) as again:
        written, judged = again.read(makers)
    assert sum(written.values()) == 60
    assert set(written) == {GENERATOR, OLLAMA, LLAMA}
    assert sum(judged.values()) >= 60
    assert set(judged) == {REWARD, OLLAMA, LLAMA}
