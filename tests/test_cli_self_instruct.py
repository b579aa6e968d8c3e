"""`generate --method self-instruct` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .command_line import call, run_beside
from .pools import PoolModel, seed_rows, write_seeds
from .servers.nim import NimServer

GENERATOR = "nim:meta/llama-3.1-405b-instruct"


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    call(capsys, "new", tmp_path / "w.pairsmith", "--domain", "Everyday tasks")
    return tmp_path / "w.pairsmith"


async def test_a_pool_grows_from_a_seed_file_to_an_exact_number(workspace: Path, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seed_tasks.jsonl", seed_rows())
    async with NimServer(brain=PoolModel(seed=2)) as server:
        env = {**server.env, "PAIRSMITH_HOME": str(tmp_path), "PAIRSMITH_TIME_SCALE": "20"}
        words = ("generate", workspace, "--pairs", 20, "--generator", GENERATOR, "--method", "self-instruct")
        ran = await run_beside(
            *words, "--seed-tasks", seeds, "--examples", "alpaca", "--refine", "--json", env=env
        )
        assert ran.code == 0, ran.err
        said = ran.json
        assert (said["asked"], said["kept"], said["missing"]) == (20, 20, 0)
        assert said["candidates"] == said["kept"] + sum(said["losses"].values()) + said["in_progress"]
        assert said["refined"] == {"kept": 0, "refused": 0}
        assert said["topics"][0]["path"] == "Tasks"
        assert said["diversity"]["instructions"] >= 20
        assert 0 < said["share_kept"] <= 1
        again = await run_beside(*words, env=env)
        assert again.code == 0, again.err
        assert "diversity: distinct-1" in again.out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--seed-tasks", "nothing.jsonl"), "nothing.jsonl"),
        (("--seed-tasks", "broken.jsonl"), "line 2: has no 'instruction'"),
        (("--examples", "some"), "paper, alpaca, mixed"),
        (("--examples", "0+0"), "paper, alpaca, mixed"),
        ((), "--seed-tasks FILE"),
    ],
)
async def test_wrong_usage_is_one_line_and_costs_nothing(
    flags: tuple[str, ...], said: str, workspace: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps({"instruction": "Name a river."}) + '\n{"task": 1}\n', encoding="utf-8")
    flags = tuple(str(broken) if flag == "broken.jsonl" else flag for flag in flags)
    async with NimServer(brain=PoolModel()) as server:
        env = {**server.env, "PAIRSMITH_HOME": str(tmp_path)}
        words = ("generate", workspace, "--pairs", 3, "--generator", GENERATOR, "--method", "self-instruct")
        ran = await run_beside(*words, *flags, env=env)
        ran.assert_one_line_error(2, said)
        assert server.completions <= 1  # the look whether the model answers at all


async def test_seed_tasks_for_the_topic_tree_are_wrong_usage(workspace: Path, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seed_tasks.jsonl", seed_rows(5))
    async with NimServer() as server:
        env = {**server.env, "PAIRSMITH_HOME": str(tmp_path)}
        ran = await run_beside(
            "generate", workspace, "--pairs", 3, "--generator", GENERATOR, "--seed-tasks", seeds, env=env
        )
        ran.assert_one_line_error(2, "--method self-instruct")


def test_seeds_are_listed_added_from_a_file_and_by_hand_removed_and_undone(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = write_seeds(tmp_path / "seed_tasks.jsonl", seed_rows(5))
    assert call(capsys, "seeds", workspace).out == "0 seed tasks\n"
    assert "added 5 seed tasks" in call(capsys, "seeds", workspace, "--file", seeds).out
    assert "5 were there already" in call(capsys, "seeds", workspace, "--file", seeds).out
    words = ("--add", "Name a river.", "--output", "Nile", "--classification")
    rows = call(capsys, "seeds", workspace, *words, "--json").json["seed_tasks"]
    assert len(rows) == 6
    assert rows[-1]["instances"] == [{"input": "", "output": "Nile"}]
    assert (rows[-1]["is_classification"], rows[-1]["source"]) == (True, "by hand")
    assert call(capsys, "undo", workspace).out.startswith("undone: added seed task Name a river.")
    call(capsys, "seeds", workspace, "--remove", rows[0]["id"])
    assert len(call(capsys, "seeds", workspace, "--json").json["seed_tasks"]) == 4
    assert "Summarize" in call(capsys, "seeds", workspace).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--add", " "), "needs an instruction"),
        (("--remove", 9), "no seed task 9"),
        (("--output", "x"), "belong to --add"),
        (("--add", "Name a river.", "--input", "x"), "--output"),
        (("--file", "nothing"), "nothing"),
    ],
)
def test_wrong_usage_of_seeds_is_one_line(
    words: tuple[object, ...], said: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "seeds", workspace, *words).assert_one_line_error(2, said)
