"""`pairsmith generate`, `topics` and `judge` against a real server over HTTP: exact numbers, exit codes, interrupts."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pairsmith.cli.main import main

from .brains import DefectiveLists, repeating
from .command_line import Ran, ended, environment, run, run_beside, start
from .servers.nim import NimServer, Rules

GENERATOR = "nim:meta/llama-3.1-405b-instruct"
REWARD = "nim:nvidia/nemotron-4-340b-reward"
QUICK = {"PAIRSMITH_TIME_SCALE": "50"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "git.pairsmith"
    assert main(["new", str(path), "--domain", "Git commands"]) == 0
    return path


def env(server: NimServer) -> dict[str, str]:
    return {**server.env, **QUICK}


def sums_hold(ledger: Mapping[str, Any], server: NimServer | None = None) -> None:
    assert ledger["asked"] == ledger["kept"] + ledger["missing"]
    assert ledger["candidates"] == ledger["kept"] + sum(ledger["losses"].values()) + ledger["in_progress"]
    assert ledger["calls"]["made"] == ledger["calls"]["useful"] + sum(ledger["calls"]["failed"].values())
    if server is not None:
        assert ledger["calls"]["made"] == server.completions


async def test_generate_keeps_exactly_what_is_asked_and_its_ledger_is_the_servers(workspace: Path) -> None:
    async with NimServer(DefectiveLists(seed=1)) as server:
        ran = await run_beside(
            "generate", workspace, "--pairs", 17, "--generator", GENERATOR, "--json", env=env(server)
        )
        assert ran.code == 0, ran.err
        sums_hold(ran.json, server)
    assert (ran.json["kept"], ran.json["missing"], ran.json["state"]) == (17, 0, "done")
    stats = run("stats", workspace, "--json").json
    assert (stats["pairs"], stats["generator"], stats["last_run"]["kept"]) == (17, GENERATOR, 17)
    assert run("verify", workspace).code == 0


async def test_the_ledger_is_told_in_words(workspace: Path) -> None:
    async with NimServer(DefectiveLists(seed=2)) as server:
        ran = await run_beside("generate", workspace, "--pairs", 9, "--generator", GENERATOR, env=env(server))
    assert "asked 9 = 9 kept + 0 missing" in ran.out
    assert "run 1: done" in ran.out
    assert "topics: Branching, Merging" in ran.err


async def test_with_a_judge_and_where_only_pairs_that_pass_count(workspace: Path) -> None:
    async with NimServer(DefectiveLists(seed=3, passing=0.6)) as server:
        words = ("--generator", GENERATOR, "--judge", REWARD, "--where", "helpfulness >= 3")
        ran = await run_beside("generate", workspace, "--pairs", 12, *words, "--json", env=env(server))
        assert ran.code == 0, ran.err
        sums_hold(ran.json, server)
        assert ran.json["losses"].get("judged below", 0) > 0
        out = workspace.with_name("out.jsonl")
        assert run("export", workspace, out, "--where", "helpfulness >= 3").code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 12
    assert all(row["scores"][REWARD]["helpfulness"] >= 3 for row in rows)
    assert {row["model"] for row in rows} == {GENERATOR}


async def test_a_limit_ends_with_3_and_the_same_command_goes_on(workspace: Path) -> None:
    async with NimServer(DefectiveLists(seed=4)) as server:
        words = ("generate", workspace, "--pairs", 15, "--generator", GENERATOR, "--json")
        ran = await run_beside(*words, "--max-calls", 6, env=env(server))
        assert ran.code == 3
        assert server.completions == 6
        sums_hold(ran.json, server)
        assert (ran.json["state"], "6 calls" in ran.json["reason"]) == ("unfinished", True)
        assert len([line for line in ran.err.splitlines() if line.startswith("pairsmith:")]) == 1
        again = await run_beside(*words, env=env(server))
    assert again.code == 0
    assert (again.json["run"], again.json["kept"]) == (ran.json["run"], 15)
    assert run("stats", workspace, "--json").json["pairs"] == 15


async def test_a_model_that_only_repeats_itself_ends_with_3(workspace: Path) -> None:
    items = ["Make a new branch now", "Delete an old tag", "Show me the log"]
    async with NimServer(repeating(items)) as server:
        words = ("generate", workspace, "--pairs", 50, "--generator", GENERATOR, "--json")
        ran = await run_beside(*words, env=env(server))
        sums_hold(ran.json, server)
    assert ran.code == 3
    assert ran.json["reason"] == "every topic is exhausted"
    assert "ran dry" in ran.err


async def test_generate_again_makes_that_many_more(workspace: Path) -> None:
    async with NimServer(DefectiveLists(seed=5)) as server:
        words = ("generate", workspace, "--pairs", 4, "--generator", GENERATOR)
        assert (await run_beside(*words, env=env(server))).code == 0
        assert (await run_beside(*words, env=env(server))).code == 0
    assert run("stats", workspace, "--json").json["pairs"] == 8


async def test_a_key_from_an_env_file_reaches_the_server_and_nothing_else(
    workspace: Path, tmp_path: Path
) -> None:
    key = "nvapi-canary-0123456789"
    (tmp_path / "keys.env").write_text(f"# mine\nexport NVIDIA_API_KEY='{key}'\nOTHER=1\n")
    async with NimServer(DefectiveLists(), Rules(key=key)) as server:
        url = {"PAIRSMITH_NIM_URL": server.base_url, **QUICK}
        words = (
            "generate",
            workspace,
            "--pairs",
            3,
            "--generator",
            GENERATOR,
            "--env-file",
            tmp_path / "keys.env",
        )
        ran = await run_beside(*words, env=url)
    assert ran.code == 0, ran.err
    assert key not in ran.out + ran.err
    assert not any(key.encode() in file.read_bytes() for file in tmp_path.glob("git.pairsmith*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_finishes_what_is_in_flight_and_ends_with_130(
    number: int, workspace: Path
) -> None:
    async with NimServer(DefectiveLists(chance=0), Rules(latency=lambda: 0.3)) as server:
        process = await start(
            "generate", workspace, "--pairs", 500, "--generator", GENERATOR, "--json", env=env(server)
        )
        while server.completions < 12:
            await asyncio.sleep(0.02)
        process.send_signal(number)
        ran = await ended(process)
        assert ran.code == 130, ran.err
        sums_hold(ran.json, server)
        assert (ran.json["state"], ran.json["calls"]["failed"]) == ("paused", {})
        assert "Traceback" not in ran.err
    stats = run("stats", workspace, "--json").json
    assert stats["pairs"] == ran.json["kept"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_a_second_interrupt_ends_at_once_and_loses_nothing_stored(workspace: Path) -> None:
    slow = [0.05]
    async with NimServer(DefectiveLists(chance=0), Rules(latency=lambda: slow[0])) as server:
        process = await start(
            "generate", workspace, "--pairs", 500, "--generator", GENERATOR, env=env(server)
        )
        while server.completions < 30:
            await asyncio.sleep(0.02)
        slow[0] = 600.0
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while line := await process.stderr.readline():
            if b"once more ends at once" in line:
                break
        process.send_signal(signal.SIGINT)
        ran = await asyncio.wait_for(ended(process), 60)
    assert ran.code == 130
    assert "Traceback" not in ran.err
    assert run("stats", workspace, "--json").json["pairs"] > 0
    assert run("verify", workspace).code == 0


async def test_a_second_job_on_the_workspace_ends_with_75_and_the_holders_pid(workspace: Path) -> None:
    slow = [0.05]
    async with NimServer(DefectiveLists(chance=0), Rules(latency=lambda: slow[0])) as server:
        words = ("generate", workspace, "--pairs", 300, "--generator", GENERATOR)
        process = await start(*words, env=env(server))
        while server.completions < 5:
            await asyncio.sleep(0.02)
        slow[0] = 600.0  # it is still at work whatever the others take
        second = await run_beside(*words, env=env(server))
        third = await run_beside("judge", workspace, "--judge", REWARD, env=env(server))
        other = ("generate", workspace, "--pairs", 300, "--generator", "nim:meta/llama-3.3-70b-instruct")
        fourth = await run_beside(*other, env=env(server))
        process.kill()
        await ended(process)
    second.assert_one_line_error(75, str(process.pid))
    for refused in (third, fourth):
        refused.assert_one_line_error(75, str(process.pid))
    stats = run("stats", workspace, "--json").json
    assert (stats["judge"], stats["generator"]) == (None, GENERATOR)


async def test_judge_scores_what_is_not_scored_and_a_restart_has_nothing_to_do(workspace: Path) -> None:
    async with NimServer(DefectiveLists(chance=0)) as server:
        await run_beside("generate", workspace, "--pairs", 8, "--generator", GENERATOR, env=env(server))
        before = server.completions
        words = ("judge", workspace, "--judge", REWARD, "--json")
        first = await run_beside(*words, "--limit", 3, env=env(server))
        rest = await run_beside(*words, env=env(server))
        none = await run_beside("judge", workspace, env=env(server))
        assert server.completions == before + 8
    assert [first.json["scored"], rest.json["scored"]] == [3, 5]
    assert set(rest.json["means"]) == {"helpfulness", "correctness", "coherence", "complexity", "verbosity"}
    assert "nothing to do" in none.out


async def test_a_judge_that_scores_nothing_fails_and_the_pairs_stay_unscored(workspace: Path) -> None:
    async with NimServer(DefectiveLists(chance=0)) as server:
        await run_beside("generate", workspace, "--pairs", 3, "--generator", GENERATOR, env=env(server))
        words = ("judge", workspace, "--judge", GENERATOR, "--kind", "json", "--json")
        ran = await run_beside(*words, env=env(server))
    assert ran.code == 1
    assert (ran.json["scored"], ran.json["failed"], ran.json["error"]["kind"]) == (0, 3, "not scored")
    ran.assert_one_line_error(1, "scored none of 3 pairs")


async def test_topics_are_suggested_added_and_used(workspace: Path) -> None:
    async with NimServer(DefectiveLists(chance=0)) as server:
        words = ("topics", workspace, "--count", 3, "--generator", GENERATOR, "--json")
        ran = await run_beside(*words, env=env(server))
        assert ran.code == 0, ran.err
        assert ran.json["suggested"] == ["Branching", "Merging", "Committing"]
        ids = {topic["name"]: topic["id"] for topic in ran.json["topics"]}
        changed = run(
            *("topics", workspace, "--rename", ids["Merging"], "Rebasing", "--quota", ids["Branching"], 3),
            *("--quota", ids["Merging"], 1, "--prune", ids["Committing"], "--json"),
        )
        assert [(t["name"], t["quota"]) for t in changed.json["topics"]] == [
            ("Branching", 3),
            ("Rebasing", 1),
        ]
        made = await run_beside("generate", workspace, "--pairs", 8, "--json", env=env(server))
    assert {topic["path"]: topic["kept"] for topic in made.json["topics"]} == {"Branching": 6, "Rebasing": 2}


async def test_topics_that_were_named_before_a_limit_are_kept(workspace: Path) -> None:
    async with NimServer(DefectiveLists(chance=0)) as server:
        words = ("topics", workspace, "--count", 8, "--generator", GENERATOR, "--max-calls", 1, "--json")
        ran = await run_beside(*words, env=env(server))
        assert server.completions == 1
    assert ran.code == 3, ran
    assert "stopped: the limit of 1 call is reached" in ran.err
    assert "named 5 new topics, not 8" in ran.err
    assert (
        ran.json["suggested"] == [topic["name"] for topic in ran.json["topics"]] == [*DefectiveLists.topics]
    )


def test_a_topic_that_cannot_be_is_named(workspace: Path) -> None:
    assert run("topics", workspace, "--add", "Merging").code == 0
    run("topics", workspace, "--add", "merging").assert_one_line_error(1, "has that name already")
    run("topics", workspace, "--prune", 99).assert_one_line_error(1, "no topic 99")
    run("topics", workspace, "--quota", "x", "1").assert_one_line_error(1, "not a number")


async def test_generate_over_http_imports_nothing_heavy(workspace: Path) -> None:
    heavy = ("torch", "datasets", "llama_cpp", "pandas", "openai", "sqlite_utils", "textual")
    async with NimServer(DefectiveLists(chance=0)) as server:
        code = (
            "import sys; from pairsmith.cli.main import main;"
            f"code = main(['generate', {str(workspace)!r}, '--pairs', '3', '--generator', {GENERATOR!r},"
            f" '--judge', {REWARD!r}]); print('loaded', sorted(set({heavy!r}) & set(sys.modules))); sys.exit(code)"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", code),
            env=environment(env(server)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        ran: Ran = await ended(process)
    assert ran.code == 0, ran.err
    assert "loaded []" in ran.out
