"""The main job on files of real size, with a real GGUF: import, judge, filter, export, undo, verify, backup."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pairsmith.cli.main import main

from .command_line import call, fingerprint, git_rows, run, write_rows
from .stores import add_pairs
from .tiny_gguf import make_markov_gguf

WHERE = "helpfulness >= 3 and verbosity <= 2.5"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "git.pairsmith"
    assert main(["new", str(path), "--domain", "Git commands"]) == 0
    return path


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that says 3 or 4 after every colon."""
    return make_markov_gguf(
        tmp_path_factory.mktemp("gguf") / "judge.gguf", "grade:3 points\ngrade:4 points\n"
    )


def reference_like(path: Path) -> list[dict[str, Any]]:
    """1,100 rows as an Alpaca array, of which 25 repeat an instruction and input with another output."""
    rng = random.Random(5)
    rows = [
        {
            "instruction": f"Rewrite phrase {n}.",
            "input": f"phrase {n}" if n % 2 else "",
            "output": f"Answer {n}.",
        }
        for n in range(1075)
    ]
    for n in rng.sample(range(1075), 25):
        rows.insert(rng.randrange(len(rows)), {**rows[n], "output": f"Another answer {n} {rng.random()}"})
    path.write_text(json.dumps(rows, indent=4), encoding="utf-8")
    return rows


def test_every_row_of_an_alpaca_file_is_kept_in_file_order(workspace: Path, tmp_path: Path) -> None:
    rows = reference_like(tmp_path / "data.json")
    ran = run("import", workspace, tmp_path / "data.json", "--json")
    assert (ran.json["added"], ran.json["duplicates"], ran.json["refused"]) == (1100, 0, 0)
    assert run("export", workspace, tmp_path / "out.json", "--format", "alpaca").code == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == rows
    again = run("import", workspace, tmp_path / "data.json", "--json")
    assert (again.json["added"], again.json["duplicates"]) == (0, 1100)


def test_the_whole_job_with_a_real_model(
    workspace: Path, tmp_path: Path, gguf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference_like(tmp_path / "data.json")
    call(capsys, "import", workspace, tmp_path / "data.json")
    judge = f"llama-cpp:{gguf}"
    ran = run("judge", workspace, "--judge", judge, "--kind", "expected", "--limit", 12, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["scored"], ran.json["failed"]) == (12, 0)
    stats = call(capsys, "stats", workspace, "--json").json
    assert (stats["judge"], stats["judges"][0]["not_scored"]) == (judge, 1088)

    before = fingerprint(workspace)
    preview = call(capsys, "filter", workspace, "--where", WHERE, "--preview", "--json").json
    assert fingerprint(workspace) == before
    assert preview["keeps"] + preview["falls_below"] + preview["not_scored"] == 1100
    assert preview["not_scored"] == 1088
    done = call(capsys, "filter", workspace, "--where", WHERE, "--json").json
    assert done["changed"] == preview["rejects"] == preview["falls_below"] == 12

    out = tmp_path / "out.jsonl"
    exported = call(capsys, "export", workspace, out, "--json").json
    assert exported["pairs"] == 1100 - done["changed"]
    assert exported["verdicts"] == {"undecided": exported["pairs"]}
    first = out.read_bytes()
    call(capsys, "export", workspace, out)
    assert out.read_bytes() == first


def test_a_real_model_generates(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verbs = ("show", "delete", "rename", "merge", "compare", "list", "fetch", "explain", "undo", "check")
    things = ("branch", "commit", "tag", "remote", "stash", "conflict", "file", "history", "index", "hook")
    text = "\n".join(f"{v} every old {t} before lunch" for v in verbs for t in things)
    model = make_markov_gguf(tmp_path / "babbler.gguf", text, end=0.9)
    call(capsys, "topics", workspace, "--add", "Branching", "--add", "Merging")
    words = ("--generator", f"llama-cpp:{model}", "--max-minutes", 1, "--max-calls", 60, "--json")
    ran = run("generate", workspace, "--pairs", 2, *words)
    assert ran.code in (0, 3), ran.err
    ledger = ran.json
    assert ledger["candidates"] == ledger["kept"] + sum(ledger["losses"].values()) + ledger["in_progress"]
    assert ledger["calls"]["made"] == ledger["calls"]["useful"] + sum(ledger["calls"]["failed"].values()) > 0
    assert run("stats", workspace, "--json").json["pairs"] == ledger["kept"] > 0


def test_the_filter_spares_human_verdicts_and_what_is_not_scored_and_tells_how_far_they_agree(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            **row,
            "id": str(n),
            "topic": [],
            "decided_by": "human" if verdict else "",
            "verdict": verdict or "undecided",
            "scores": {} if score is None else {"j": {"helpfulness": score}},
        }
        for n, (row, verdict, score) in enumerate(
            zip(
                git_rows(8),
                ("accepted", "rejected", "accepted", "rejected", "accepted", None, None, None),
                (4.0, 1.0, 1.0, 4.0, None, 4.0, 1.0, None),
                strict=True,
            )
        )
    ]
    call(capsys, "import", workspace, write_rows(tmp_path / "f.jsonl", rows))
    report = call(capsys, "filter", workspace, "--where", "helpfulness >= 3", "--json").json
    assert (report["keeps"], report["falls_below"], report["not_scored"]) == (3, 3, 2)
    assert (report["agrees"], report["keeps_rejected"], report["drops_accepted"], report["decided"]) == (
        2,
        1,
        1,
        4,
    )
    assert (report["rejects"], report["changed"]) == (1, 1)
    stats = call(capsys, "stats", workspace, "--json").json
    assert stats["verdicts"] == {"undecided": 2, "accepted": 3, "rejected": 3}
    again = call(capsys, "filter", workspace, "--where", "helpfulness >= 3")
    assert "no undecided pair was to be rejected; nothing was changed" in again.out
    assert "undo" not in again.out
    undone = call(capsys, "undo", workspace)
    assert undone.out.startswith("undone: rejected pair 7")
    assert call(capsys, "stats", workspace, "--json").json["verdicts"]["rejected"] == 2
    assert call(capsys, "redo", workspace).out.startswith("redone: rejected pair 7")
    assert call(capsys, "stats", workspace, "--json").json["verdicts"]["rejected"] == 3


def test_undo_and_redo_say_what_they_did_and_end_with_1_where_there_is_nothing(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "undo", workspace).code == 1
    call(capsys, "import", workspace, write_rows(tmp_path / "f.jsonl", git_rows(3)))
    assert "undone: imported 3 pairs from f.jsonl" in call(capsys, "undo", workspace).out
    assert call(capsys, "stats", workspace, "--json").json["pairs"] == 0
    assert call(capsys, "undo", workspace).code == 1
    assert call(capsys, "redo", workspace).code == 0
    assert call(capsys, "redo", workspace).code == 1
    assert call(capsys, "stats", workspace, "--json").json["pairs"] == 3


def test_verify_names_the_row_that_was_changed(workspace: Path, tmp_path: Path) -> None:
    run("import", workspace, write_rows(tmp_path / "f.jsonl", git_rows(50)))
    assert run("verify", workspace).out.endswith("50 rows, all as written\n")
    data = workspace.read_bytes()
    workspace.write_bytes(data.replace(b"Command 30 does thing 30.", b"Kommand 30 does thing 30."))
    ran = run("verify", workspace, "--json")
    assert ran.code == 1
    assert [problem["pair_id"] for problem in ran.json["problems"]] == [31]
    run("verify", workspace).assert_one_line_error(1, "problem")
    assert "pair 31" in run("verify", workspace).out


def test_a_backup_is_a_workspace_of_its_own(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "import", workspace, write_rows(tmp_path / "f.jsonl", git_rows(5)))
    copy = tmp_path / "copy.pairsmith"
    assert call(capsys, "backup", workspace, copy).code == 0
    assert call(capsys, "verify", copy).code == 0
    assert call(capsys, "stats", copy, "--json").json["pairs"] == 5
    call(capsys, "backup", workspace, copy).assert_one_line_error(2, "exists already")


def test_a_recipe_has_the_settings_of_a_run_for_the_next_person(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pairsmith.pairs.generation_plan import GenerateSettings
    from pairsmith.pairs.run_plan import RunPlan, read_plan
    from pairsmith.pairs.store.runs import start_run
    from pairsmith.pairs.store.workspace import open_workspace

    asked = GenerateSettings(500, "self-instruct", "helpfulness >= 3", 7, "4+2", True)
    with open_workspace(workspace) as opened:
        first = opened.write(lambda conn: start_run(conn, "generate", asked.as_json(), 500))
        opened.write(lambda conn: start_run(conn, "generate", GenerateSettings(3).as_json(), 3))
    path, other = tmp_path / "git.toml", tmp_path / "other.pairsmith"
    call(capsys, "recipe", workspace, path, "--run", 99).assert_one_line_error(2, "no generate run 99")
    assert call(capsys, "recipe", workspace, path, "--run", first, "--json").json["run"] == first
    made = call(capsys, "new", other, "--domain", "x", "--recipe", path)
    assert (
        "--pairs 500 --method self-instruct --where 'helpfulness >= 3' --examples 4+2 --seed 7 --refine"
        in made.out
    )
    with open_workspace(other) as opened:
        plan = opened.read(read_plan)
    assert plan == RunPlan(500, "helpfulness >= 3", method="self-instruct", examples="4+2", refine=True)
    assert call(capsys, "recipe", workspace, path).code == 0
    assert "pairs = 3" in path.read_text()
    path.write_text(path.read_text().replace("pairs = 3", 'pairs = 3\nwhere = "__import__(1)"'))
    call(capsys, "new", tmp_path / "bad", "--domain", "x", "--recipe", path).assert_one_line_error(
        2, "run.where"
    )


def test_a_recipe_makes_another_workspace_with_the_same_models(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pairsmith.pairs.store.meta import set_meta
    from pairsmith.pairs.store.workspace import open_workspace

    with open_workspace(workspace) as opened:
        opened.write(lambda conn: set_meta(conn, "generator", "ollama:a:b"))
        opened.write(lambda conn: set_meta(conn, "judge", 'openai:m"x'))
    path = tmp_path / "git.toml"
    assert call(capsys, "recipe", workspace, path).code == 0
    assert "# Names in braces are filled in" in path.read_text()
    other = tmp_path / "other.pairsmith"
    made = call(capsys, "new", other, "--domain", "x", "--recipe", path, "--json").json
    assert (made["generator"], made["judge"]) == ("ollama:a:b", 'openai:m"x')
    again = tmp_path / "again.toml"
    call(capsys, "recipe", other, again)
    assert again.read_bytes() == path.read_bytes()


def test_the_demonstration_runs_the_main_job_and_leaves_nothing(tmp_path: Path) -> None:
    env = {"PAIRSMITH_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    ran = run("demo", env={**env, "OLLAMA_HOST": "127.0.0.1:9"})
    assert ran.code == 0, ran.err
    for text in ("imported 30 pairs", "rejected 4 undecided pairs", "pairsmith export"):
        assert text in ran.out
    assert not list(tmp_path.glob("pairsmith-demo-*"))


def test_the_demonstration_generates_with_a_model_that_is_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    make_markov_gguf(
        home / "models" / "babbler.gguf",
        "show every old branch\nmerge the new tag\nlist all files\n",
        end=0.9,
    )
    env = {"PAIRSMITH_HOME": str(home), "HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    ran = run("demo", "--pairs", 1, "--json", env=env)
    assert ran.code == 0, ran.err
    assert ran.json["generator"] == "llama-cpp:babbler"
    commands = [step["command"][0] for step in ran.json["steps"] if "command" in step]
    assert commands[:3] == ["new", "import", "generate"]
    assert commands[-4:] == ["filter", "filter", "export", "stats"]


def test_an_interrupted_import_changes_nothing(workspace: Path, tmp_path: Path) -> None:
    import signal
    import subprocess

    from .command_line import COMMAND, environment

    big = write_rows(tmp_path / "big.jsonl", git_rows(120_000))
    child = subprocess.Popen(
        [str(COMMAND), "import", str(workspace), str(big)], stderr=subprocess.PIPE, env=environment()
    )
    assert child.stderr is not None
    assert b"bytes" in child.stderr.readline(), "it is on its way"
    child.send_signal(signal.SIGINT)
    err = child.stderr.read()
    assert child.wait(60) == 130, err
    assert b"Traceback" not in err
    stats = run("stats", workspace, "--json").json
    assert stats["pairs"] == 0
    assert run("verify", workspace).code == 0


def test_a_workspace_that_cannot_be_written_is_still_read(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    from pairsmith.pairs.store.workspace import open_workspace

    with open_workspace(workspace) as opened:
        add_pairs(opened, 3)
    workspace.chmod(0o444)
    try:
        assert call(capsys, "stats", workspace, "--json").json["pairs"] == 3
        assert call(capsys, "export", workspace, tmp_path / "out").code == 0
        if os.geteuid():  # root may write anything
            call(capsys, "undo", workspace).assert_one_line_error(1, "cannot be written")
    finally:
        workspace.chmod(0o644)
