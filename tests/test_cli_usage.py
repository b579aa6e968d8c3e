"""The command line as such: help, wrong usage, what is imported for what, how it ends when nobody listens."""

from __future__ import annotations

import io
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from pairsmith.cli.chat import _messages
from pairsmith.cli.main import COMMANDS
from pairsmith.cli.output import prepare_streams

from .command_line import COMMAND, call, environment, fingerprint, git_rows, run, write_rows

HEAVY = ("torch", "datasets", "llama_cpp", "pandas", "sqlite_utils", "textual", "httpx", "openai", "pyarrow")


def modules_after(*words: object) -> set[str]:
    """Which of the heavy libraries a command had imported at its end."""
    code = (
        "import sys, io, contextlib\n"
        "from pairsmith.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    code = main({[str(word) for word in words]!r})\n"
        f"print(code, *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    code_said, *found = child.stdout.split()
    assert code_said == "0", child.stderr
    return set(found)


def test_help_imports_nothing_heavy() -> None:
    assert modules_after("--help") == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(capsys, name, "--help")
    assert ran.code == 0
    assert f"pairsmith {name} " in ran.out.split("example:")[1] + " "
    assert "--json" in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    assert modules_after(name, "--help") == set()


def test_stats_imports_nothing_heavy(tmp_path: Path) -> None:
    assert run("new", tmp_path / "w", "--domain", "git").code == 0
    assert modules_after("stats", tmp_path / "w") == set()
    assert modules_after("stats", tmp_path / "w", "--json") == set()


def test_import_and_export_import_nothing_heavy(tmp_path: Path) -> None:
    run("new", tmp_path / "w", "--domain", "git")
    rows = write_rows(tmp_path / "rows.jsonl", git_rows(3))
    assert modules_after("import", tmp_path / "w", rows) == set()
    assert modules_after("export", tmp_path / "w", tmp_path / "out.jsonl") == set()


def test_top_level_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "--help").out
    assert all(f"\n  {name} " in out for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version").out.startswith("pairsmith 0.")


def test_a_mistyped_command_is_named_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "genrate", "x").assert_one_line_error(2, "genrate", "generate")
    call(capsys, "genrate").assert_one_line_error(2, "generate")


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "w"),
        ("generate", "w", "--pairs", "x"),
        ("generate", "w", "--pairs", "5", "--max-calls", "0"),
        ("generate", "w", "--pairs", "5", "--max-cost", "nan"),
        ("generate", "w", "--pairs", "5", "--max-minutes", "-1"),
        ("new", "w"),
        ("export", "w", "out", "--format", "nonsense"),
        ("export", "w", "out", "--verdict", "maybe"),
        ("stats",),
        ("stats", "w", "more"),
        ("doctor", "--deep"),
        ("topics", "w", "--under", "3"),
        ("seeds", "w", "--remove", str(1 << 63)),
        ("replay", "w", str(1 << 63)),
        ("--nonsense",),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, *words).assert_one_line_error(2)


def test_an_error_is_one_json_document_where_json_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(capsys, "stats", tmp_path / "none", "--json")
    ran.assert_one_line_error(4)
    assert ran.json["error"]["exit"] == 4
    assert ran.json["error"]["kind"] == "workspace missing"


def test_without_a_terminal_it_says_how_to_work_from_the_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), (tmp_path / "w.pairsmith",)):
        ran = call(capsys, *words)
        assert ran.code == 0
        assert "pairsmith new" in ran.out
        assert "pairsmith generate" in ran.out
    run("new", tmp_path / "w.pairsmith", "--domain", "git")
    assert "pairsmith new" not in call(capsys, tmp_path / "w.pairsmith").out


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    run("new", tmp_path / "w", "--domain", "git")
    child = subprocess.Popen(
        [str(COMMAND), "stats", str(tmp_path / "w"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    err = child.stderr.read().decode()
    assert child.wait(60) == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("stats", "w"), 1, "the result cannot be written"),
        (("export", "w", "-"), 1, "the result cannot be written"),
        (("stats", "none", "--json"), 4, "there is no workspace none"),
    ],
)
def test_a_full_disk_behind_standard_output_is_one_line(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    run("new", tmp_path / "w", "--domain", "git")
    run("import", tmp_path / "w", write_rows(tmp_path / "rows.jsonl", git_rows(3)))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(COMMAND), *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=tmp_path,
            check=False,
        )
    assert done.returncode == code
    assert done.stderr.startswith(f"pairsmith: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's syntax")
def test_a_closed_standard_input_is_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" <&-', str(COMMAND)], capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "needs a terminal" in done.stdout


def test_a_line_that_is_not_utf8_takes_no_other_message_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = io.TextIOWrapper(io.BytesIO(b"one\ncaf\xe9\nthree\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdin", typed)
    prepare_streams()
    assert list(_messages(Namespace(say=None))) == ["one", "caf\ufffd", "three"]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's syntax")
def test_a_closed_standard_output_is_no_traceback(tmp_path: Path) -> None:
    run("new", tmp_path / "w", "--domain", "git")
    shell = ["sh", "-c", '"$0" stats "$1" >&-', str(COMMAND), str(tmp_path / "w")]
    done = subprocess.run(shell, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_survives_a_terminal_that_knows_only_ascii(tmp_path: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    assert run("new", tmp_path / "w", "--domain", "Git 命令 \x1b[31m", env=env).code == 0
    ran = run("stats", tmp_path / "w", env=env)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert run("stats", tmp_path / "w", "--json", env=env).json["domain"].startswith("Git 命令")


def test_the_env_file_is_read_only_when_asked_and_never_quoted(tmp_path: Path) -> None:
    run("new", tmp_path / "w", "--domain", "git")
    before = fingerprint(tmp_path / "w")
    (tmp_path / ".env").write_text("NVIDIA_API_KEY=nvapi-canary-123\nthis is a secret line\n")
    words = ("generate", tmp_path / "w", "--pairs", "1", "--generator", "nim:a/b")
    run(*words, cwd=tmp_path).assert_one_line_error(1, "no key", "NVIDIA_API_KEY")
    ran = run(*words, "--env-file", tmp_path / ".env")
    ran.assert_one_line_error(2, "line 2")
    assert "secret" not in ran.err
    assert "canary" not in ran.err
    run(*words, "--env-file", tmp_path / "none").assert_one_line_error(2, "env file")
    assert fingerprint(tmp_path / "w") == before
