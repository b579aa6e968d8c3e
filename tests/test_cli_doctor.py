"""`pairsmith doctor`: every backend, key, device and file, what to do about each, and no key shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairsmith.cli.main import main

from .brains import DefectiveLists
from .command_line import Ran, git_rows, run, run_beside, write_rows
from .servers.nim import NimServer, Rules
from .tiny_gguf import make_tiny_gguf

NOWHERE = {"OLLAMA_HOST": "127.0.0.1:9"}
GENERATOR = "nim:meta/llama-3.1-405b-instruct"
REWARD = "nim:nvidia/nemotron-4-340b-reward"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "git.pairsmith"
    assert main(["new", str(path), "--domain", "Git commands"]) == 0
    assert main(["import", str(path), str(write_rows(tmp_path / "rows.jsonl", git_rows(5)))]) == 0
    return path


def set_models(workspace: Path, **models: str) -> None:
    from pairsmith.pairs.store.meta import set_meta
    from pairsmith.pairs.store.workspace import open_workspace

    with open_workspace(workspace) as opened:
        for key, value in models.items():
            opened.write(lambda conn, key=key, value=value: set_meta(conn, key, value))


def findings(ran: Ran) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for finding in ran.json["findings"]:
        grouped.setdefault(finding["name"], []).append(finding)
    return grouped


def test_a_bare_machine_is_no_failure_and_everything_says_what_to_do(tmp_path: Path) -> None:
    env = {"PAIRSMITH_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), **NOWHERE}
    ran = run("doctor", "--json", env=env)
    assert ran.code == 0, ran.out + ran.err
    found = findings(ran)
    assert {"SQLite", "processor", "GPU", "home", "nim", "openai", "ollama", "llama-cpp"} <= set(found)
    assert "NVIDIA_API_KEY" in found["nim"][0]["advice"]
    assert found["ollama"][0]["advice"]
    assert "rightly" in found["llama-cpp"][0]["summary"]
    assert ".gguf" in found["llama-cpp"][1]["advice"]


def test_gguf_files_of_our_own_folder_are_listed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    make_tiny_gguf(tmp_path / "models" / "mine.gguf", n_layer=1)
    env = {"PAIRSMITH_HOME": str(tmp_path), "HOME": str(tmp_path), **NOWHERE}
    assert "mine" in run("doctor", "--no-self-test", env=env).out


async def test_a_key_is_said_to_be_there_and_never_shown(workspace: Path) -> None:
    set_models(workspace, generator=GENERATOR, judge=REWARD)
    async with NimServer(DefectiveLists(), Rules(key="nvapi-canary-42")) as server:
        words = ("doctor", workspace, "--deep", "--no-self-test")
        good = await run_beside(*words, "--json", env={**server.env, **NOWHERE})
        text = await run_beside(*words, env={**server.env, **NOWHERE})
        wrong = await run_beside(
            *words, "--json", env={**server.env, **NOWHERE, "NVIDIA_API_KEY": "nvapi-canary-no"}
        )
    assert good.code == 0, good.out
    found = findings(good)
    assert (found["generator"][0]["state"], found["judge"][0]["state"]) == ("good", "good")
    assert "every row" in found["integrity"][0]["summary"]
    assert wrong.code == 1
    assert findings(wrong)["generator"][0]["state"] == "bad"
    for ran in (good, text, wrong):
        assert "canary" not in ran.out + ran.err


async def test_a_retired_reward_model_leads_to_the_rubric_judge(workspace: Path) -> None:
    set_models(workspace, generator=GENERATOR, judge=REWARD)
    rules = Rules(retired=("nvidia/nemotron-4-340b-reward",))
    async with NimServer(DefectiveLists(), rules) as server:
        ran = await run_beside("doctor", workspace, "--no-self-test", "--json", env={**server.env, **NOWHERE})
        judged = await run_beside(
            "judge", workspace, env={**server.env, **NOWHERE, "PAIRSMITH_TIME_SCALE": "50"}
        )
    assert ran.code == 1
    judge = findings(ran)["judge"][0]
    assert judge["state"] == "bad"
    assert "rubric" in judge["advice"].lower()
    judged.assert_one_line_error(1, "rubric")


def test_a_damaged_workspace_is_told(workspace: Path) -> None:
    data = workspace.read_bytes()
    workspace.write_bytes(data.replace(b"Command 3 does thing 3.", b"Kommand 3 does thing 3."))
    ran = run("doctor", workspace, "--deep", "--no-self-test", "--json", env=NOWHERE)
    assert ran.code == 1
    assert any(
        f["part"] == "workspace" and f["state"] == "bad" and "pair 4" in f["summary"]
        for f in ran.json["findings"]
    )
    quick = run("doctor", workspace, "--no-self-test", "--json", env=NOWHERE)
    assert quick.code == 0


def test_the_doctor_of_no_workspace_and_of_none_that_exists(tmp_path: Path) -> None:
    run("doctor", tmp_path / "none", env=NOWHERE).assert_one_line_error(4, "no workspace")


def test_whether_there_is_a_token_for_the_hub_and_where_from_is_said_and_never_the_token(
    tmp_path: Path,
) -> None:
    bare = {
        "PAIRSMITH_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "",
        **NOWHERE,
    }
    login = tmp_path / ".cache" / "huggingface" / "token"

    def hub(**env: str) -> dict[str, Any]:
        ran = run("doctor", "--json", "--no-self-test", env={**bare, **env})
        assert ran.code == 0, ran.out
        assert "hf_canary" not in ran.out + ran.err
        return findings(ran)["Hub"][0]

    none = hub()
    assert (none["state"], none["summary"][:8]) == ("note", "no token")
    assert "HF_TOKEN" in none["advice"]
    login.parent.mkdir(parents=True)
    login.write_text("hf_canary_login\n", encoding="utf-8")
    kept = hub()
    assert (kept["state"], str(login) in kept["summary"]) == ("good", True)
    given = hub(HF_TOKEN="hf_canary_given", HF_ENDPOINT="http://127.0.0.1:9")
    assert (given["state"], given["summary"]) == ("good", "a token for http://127.0.0.1:9, from HF_TOKEN")
    assert hub(HF_TOKEN="hf_canary\nsecond line")["state"] == "note"
    assert "HF_HUB_OFFLINE" in hub(HF_HUB_OFFLINE="1")["summary"]


def test_a_search_index_that_does_not_fit_is_told_and_made_anew(workspace: Path) -> None:
    from pairsmith.pairs.store.workspace import open_workspace

    with open_workspace(workspace) as opened:
        opened.write(lambda conn: conn.execute("INSERT INTO pair_fts (pair_fts) VALUES ('delete-all')"))
    words = ("doctor", workspace, "--deep", "--no-self-test", "--json")
    told = findings(run(*words, env=NOWHERE))["search"][0]
    assert (told["part"], told["state"]) == ("workspace", "bad")
    assert "--rebuild-search" in told["advice"]
    assert "search" not in findings(run(*words, "--rebuild-search", env=NOWHERE))


def test_rebuilding_the_search_needs_a_workspace() -> None:
    run("doctor", "--rebuild-search").assert_one_line_error(2, "WORKSPACE")
