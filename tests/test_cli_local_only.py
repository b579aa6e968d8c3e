"""A local-only workspace: what is outside the machine is refused before any socket is made."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pairsmith.cli.main import main

from .command_line import Ran, call, fingerprint, git_rows, write_rows

REMOTE = [
    ("nim:meta/llama-3.1-405b-instruct", []),
    ("openai:gpt-x", []),
    ("openai:gpt-x", ["--base-url", "http://192.168.1.5:8000/v1"]),
    ("openai:gpt-x", ["--base-url", "http://localhost.evil.example/v1"]),
]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "w.pairsmith"
    assert main(["new", str(path), "--domain", "secret things", "--local-only"]) == 0
    assert main(["import", str(path), str(write_rows(tmp_path / "rows.jsonl", git_rows(3)))]) == 0
    return path


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every socket to anywhere but this machine, and every look-up of a name; each also fails."""
    made: list[Any] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(
            ("127.", "::1")
        ):
            made.append(address)
            raise OSError("no network in this test")
        real(self, address)

    def lookup(host: Any, *rest: Any, **more: Any) -> Any:
        made.append(host)
        raise socket.gaierror("no look-ups in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return made


@pytest.mark.parametrize(("spec", "flags"), REMOTE)
@pytest.mark.parametrize(
    "words",
    [
        ("generate", "--pairs", "2", "--generator"),
        ("judge", "--judge"),
        ("topics", "--count", "2", "--generator"),
    ],
)
def test_a_remote_backend_is_refused_without_a_socket_and_nothing_changes(
    words: tuple[str, ...],
    spec: str,
    flags: list[str],
    workspace: Path,
    sockets: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-canary")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    before = fingerprint(workspace)
    ran = call(capsys, words[0], workspace, *words[1:], spec, *flags)
    ran.assert_one_line_error(1, "local-only")
    assert sockets == []
    assert fingerprint(workspace) == before


def test_a_remote_judge_beside_a_local_generator_is_refused_too(
    workspace: Path, sockets: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--generator", "openai:x", "--base-url", "http://127.0.0.1:9/v1", "--judge", "nim:a/b")
    call(capsys, "generate", workspace, "--pairs", 2, *words).assert_one_line_error(1, "local-only")
    assert sockets == []


def test_the_users_own_remote_default_is_refused_too(
    workspace: Path, tmp_path: Path, sockets: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    (tmp_path / "settings.toml").write_text('generator = "nim:meta/llama-3.1-405b-instruct"\n')
    monkeypatch.setenv("PAIRSMITH_HOME", str(tmp_path))
    call(capsys, "generate", workspace, "--pairs", 2).assert_one_line_error(1, "local-only")
    assert sockets == []


def test_a_recipe_with_remote_models_leaves_them_out_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(
        capsys, "new", tmp_path / "n", "--domain", "x", "--recipe", "nim-reference", "--local-only", "--json"
    )
    assert (ran.json["generator"], ran.json["judge"]) == (None, None)
    assert "left out" in ran.err


def test_the_doctor_contacts_nothing_outside_for_a_local_only_workspace(
    workspace: Path, sockets: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-canary")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("OLLAMA_HOST", "http://ollama.example:11434")
    ran = call(capsys, "doctor", workspace, "--no-self-test", "--json")
    assert [address for address in sockets if "127.0.0.1" not in str(address)] == []
    states = {finding["name"]: finding["summary"] for finding in ran.json["findings"]}
    for name in ("nim", "openai", "ollama"):
        assert "local-only" in states[name]
    assert "canary" not in ran.out + ran.err


def test_no_socket_at_all_is_made_by_the_installed_command(workspace: Path) -> None:
    """The strictest form: in a child process in which making a socket is an error."""
    code = (
        "import socket, sys\n"
        "class No(socket.socket):\n"
        "    def __init__(self, family=-1, *a, **k):\n"
        "        if family in (socket.AF_INET, socket.AF_INET6): raise AssertionError('a socket was made')\n"
        "        super().__init__(family, *a, **k)\n"
        "socket.socket = No\n"
        "from pairsmith.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            code,
            "generate",
            str(workspace),
            "--pairs",
            "2",
            "--generator",
            "nim:a/b",
            "--json",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "NVIDIA_API_KEY": "nvapi-canary"},
        check=False,
    )
    Ran(done.returncode, done.stdout, done.stderr).assert_one_line_error(1, "local-only")
    assert json.loads(done.stdout)["error"]["kind"] == "not allowed"
