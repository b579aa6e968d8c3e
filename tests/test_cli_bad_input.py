"""Bad input: one clear line, the right exit code, no traceback, and nothing changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from pairsmith.cli.main import main

from .command_line import Ran, call, fingerprint, git_rows, run, run_beside, write_rows
from .servers.nim import NimServer, Rules

NIM = "nim:meta/llama-3.1-405b-instruct"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "w.pairsmith"
    assert main(["new", str(path), "--domain", "git"]) == 0
    assert main(["import", str(path), str(write_rows(tmp_path / "rows.jsonl", git_rows(5)))]) == 0
    return path


def refused(capsys: pytest.CaptureFixture[str], workspace: Path, code: int, words: tuple[object, ...]) -> Ran:
    """Run it, and see that the file is the same byte for byte."""
    before = fingerprint(workspace)
    ran = call(capsys, *words)
    assert fingerprint(workspace) == before
    ran.assert_one_line_error(code)
    return ran


COMMANDS_ON_A_FILE = ("stats", "verify", "undo", "doctor", "judge", "topics")


@pytest.mark.parametrize("command", COMMANDS_ON_A_FILE)
def test_a_file_that_is_no_database_is_refused_untouched(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    assert "not a Pairsmith workspace" in refused(capsys, path, 4, (command, path)).err


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\0" * 200])
def test_an_empty_and_a_torn_file_are_refused_untouched(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pairsmith"
    path.write_bytes(content)
    refused(capsys, path, 4, ("stats", path))


def test_a_database_of_another_program_is_refused_untouched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.db"
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE t (a)")
    conn.commit()
    conn.close()
    assert "another program" in refused(capsys, path, 4, ("stats", path)).err


@pytest.mark.parametrize("command", ["stats", "undo"])
def test_a_newer_schema_is_refused_untouched(
    command: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(workspace.read_bytes())
    data[60:64] = (9999).to_bytes(4, "big")
    workspace.write_bytes(data)
    assert "newer Pairsmith" in refused(capsys, workspace, 4, (command, workspace)).err


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "stats", tmp_path).assert_one_line_error(4, "not a file")
    call(capsys, "stats", tmp_path / "none").assert_one_line_error(4, "no workspace", "pairsmith new")


def test_nothing_is_overwritten_by_new(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "exists already" in refused(capsys, workspace, 2, ("new", workspace, "--domain", "x")).err


@pytest.mark.parametrize("pairs", ["0", "-1", "-5", "1.5", "many", "9" * 40])
def test_a_quota_that_is_none_is_wrong_usage(
    pairs: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--pairs" in refused(capsys, workspace, 2, ("generate", workspace, f"--pairs={pairs}")).err


@pytest.mark.parametrize("spec", ["foo:bar", "nim", "nim:", ":x", "", "llamacpp:x"])
@pytest.mark.parametrize("flag", ["--generator", "--judge"])
def test_an_unknown_backend_is_named_with_the_known_ones(
    flag: str, spec: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (
        [] if flag == "--generator" else ["--generator", "openai:x", "--base-url", "http://127.0.0.1:9/v1"]
    )
    words = ("generate", workspace, "--pairs", "3", *model, flag, spec)
    assert "BACKEND:MODEL" in refused(capsys, workspace, 2, words).err


@pytest.mark.parametrize(
    "where",
    [
        "",
        "helpfulness >",
        "helpfulness >= 3 and",
        "__import__('os')",
        "1 +",
        "(a",
        "a = 3",
        "a >= 'b'",
        "topic == 'caf\udce9'",
    ],
)
@pytest.mark.parametrize("command", ["filter", "export", "generate", "judge"])
def test_an_expression_that_is_none_is_wrong_usage(
    command: str, where: str, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: dict[str, list[object]] = {
        "filter": [],
        "export": [tmp_path / "out"],
        "generate": ["--pairs", "3", "--judge", "nim:x"],
        "judge": ["--judge", "nim:x"],
    }
    refused(capsys, workspace, 2, (command, workspace, *words[command], "--where", where))
    assert not (tmp_path / "out").exists()


def test_where_without_a_judge_is_wrong_usage(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("generate", workspace, "--pairs", "3", "--generator", "openai:x", "--where", "helpfulness >= 3")
    assert "needs a judge" in refused(capsys, workspace, 2, words).err
    assert "no judge" in refused(capsys, workspace, 2, ("judge", workspace)).err


def test_a_missing_key_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("generate", workspace, "--pairs", "3", "--generator", NIM)
    assert "NVIDIA_API_KEY" in refused(capsys, workspace, 1, words).err
    words = ("judge", workspace, "--judge", "openai:gpt-x")
    assert "OPENAI_API_KEY" in refused(capsys, workspace, 1, words).err


def test_a_gguf_that_is_none_is_named(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (
        ("a.gguf", b"not a model at all" * 100),
        ("b.gguf", b""),
        ("c.gguf", b"GGUF\x03\0\0\0"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        words = ("generate", workspace, "--pairs", "3", "--generator", f"llama-cpp:{path}")
        assert name in refused(capsys, workspace, 1, words).err
    words = ("judge", workspace, "--judge", f"llama-cpp:{tmp_path}/none.gguf")
    assert "none.gguf" in refused(capsys, workspace, 1, words).err


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "empty"),
        (b" \n\n ", "empty"),
        (b"[]", "holds no pairs"),
        (b"hello", "line 1"),
        (b"\n\nhello", "line 3"),
        (b'{"instruction": "a", "output": "b"}\n{"instruction": "c", "out', "line 2"),
        (b'[{"instruction": "a", "output": "b"},\n{"instruction": "c"', "line 2"),
        (b'[\n{"instruction": "a", "output": "b"},\n{"instruction": nothing}\n]', "line 3"),
        (b'[{"instruction": "a", "output": "b"}]\nmore', "line 2"),
        (b'[{"instruction": "a", "output": "b"},\n]', "line 2"),
        (b'{"question": "a", "answer": "b"}\n', "line 1"),
        (b'{"instruction": "a"}\n', "line 1"),
        (b'["a"]', "line 1"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "line 1"),
    ],
)
def test_an_import_file_that_is_malformed_is_named_with_its_line(
    content: bytes, line: str, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert line in refused(capsys, workspace, 1, ("import", workspace, path)).err


def test_an_import_file_that_is_missing_or_a_folder_is_named(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "none.json" in refused(capsys, workspace, 1, ("import", workspace, tmp_path / "none.json")).err
    refused(capsys, workspace, 1, ("import", workspace, tmp_path))


def test_an_export_never_overwrites_a_workspace(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, workspace, 2, ("export", workspace, workspace))
    refused(capsys, workspace, 2, ("export", workspace, tmp_path))
    refused(capsys, workspace, 2, ("export", workspace, tmp_path / "none" / "out.jsonl"))
    refused(capsys, workspace, 2, ("recipe", workspace, workspace))
    other = shutil.copy(workspace, tmp_path / "other.pairsmith")
    before = fingerprint(other)
    refused(capsys, workspace, 2, ("export", workspace, other))
    assert fingerprint(other) == before


def test_a_recipe_and_a_rubric_that_are_none_are_named(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("name = [")
    call(capsys, "new", tmp_path / "n", "--domain", "x", "--recipe", bad).assert_one_line_error(2, "bad.toml")
    assert not (tmp_path / "n").exists()
    words = ("judge", workspace, "--judge", "openai:x", "--rubric", bad)
    assert "bad.toml" in refused(capsys, workspace, 2, words).err


def test_broken_settings_of_the_user_are_named(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('generator = "nonsense:x"\n')
    ran = run("generate", workspace, "--pairs", "1", env={"PAIRSMITH_HOME": str(tmp_path)})
    ran.assert_one_line_error(2, "settings.toml", "generator")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk_is_named_and_nothing_is_half_there(workspace: Path, tmp_path: Path) -> None:
    import subprocess

    big = write_rows(
        tmp_path / "big.jsonl", [{"instruction": f"i{n}", "output": "x" * 5000} for n in range(2000)]
    )
    size = workspace.stat().st_size
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 2_000_000}, {size + 2_000_000}));"
        "from pairsmith.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "import", str(workspace), str(big)],
        capture_output=True,
        text=True,
        check=False,
    )
    Ran(done.returncode, done.stdout, done.stderr).assert_one_line_error(1, "cannot grow")
    assert run("stats", workspace, "--json").json["pairs"] == 5
    assert run("verify", workspace).code == 0
    out = tmp_path / "out.jsonl"
    assert run("export", workspace, out).code == 0
    assert len(out.read_text().splitlines()) == 5


async def test_no_server_is_named(workspace: Path) -> None:
    server = NimServer()
    async with server:
        url = server.base_url
    words = ("generate", workspace, "--pairs", "3", "--generator", "openai:x", "--base-url", url)
    ran = await run_beside(*words, env={"PAIRSMITH_TIME_SCALE": "50"})
    ran.assert_one_line_error(1, url.removesuffix("/v1"))
    stats = run("stats", workspace, "--json").json
    assert (stats["pairs"], stats["generator"]) == (5, None)


@pytest.mark.parametrize(
    ("rules", "model", "key", "word"),
    [
        (Rules(), "meta/llama-3.1-405b-instruct", "nvapi-canary-wrong", "key"),
        (Rules(), "meta/no-such-model", None, "meta/no-such-model"),
        (Rules(retired=("meta/old",)), "meta/old", None, "meta/llama-3.3-70b-instruct"),
    ],
)
async def test_what_a_server_refuses_for_good_is_one_line_and_the_workspace_keeps_its_generator(
    rules: Rules, model: str, key: str | None, word: str, workspace: Path
) -> None:
    async with NimServer(rules=rules) as server:
        env = {**server.env, **({"NVIDIA_API_KEY": key} if key else {})}
        ran = await run_beside("generate", workspace, "--pairs", "3", "--generator", f"nim:{model}", env=env)
    ran.assert_one_line_error(1, word)
    assert ran.out == ""
    assert "canary" not in ran.err
    stats = json.loads(run("stats", workspace, "--json").out)
    assert (stats["pairs"], stats["generator"]) == (5, None)
