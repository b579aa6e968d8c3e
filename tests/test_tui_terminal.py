"""The installed program in a real terminal: ten pairs, kill -9, and the tenth verdict is there; the same in tmux."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pairsmith.pairs.store.workspace import open_workspace

from .screens import git_workspace, verdicts
from .terminal import ENVIRONMENT, Terminal

PROGRAM = str(Path(sys.executable).with_name("pairsmith"))
HEAVY = (
    "torch",
    "datasets",
    "llama_cpp",
    "openai",
    "pandas",
    "numpy",
    "sqlite_utils",
    "ollama",
    "transformers",
    "httpx",
)


def test_ten_pairs_reviewed_in_a_terminal_survive_kill_9(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    with Terminal([PROGRAM, "review", str(path)], 100, 30, {"PAIRSMITH_HOME": str(tmp_path)}) as terminal:
        terminal.wait("Who changed this line")
        for number in range(10):
            since = terminal.mark()
            terminal.send("a" if number % 2 else "r")
            terminal.wait("u takes it back", since)
        assert terminal.kill() == -9
    with open_workspace(path) as workspace:
        found = verdicts(workspace)
    assert found[3] == "accepted"
    assert [found[n] for n in range(12, 2, -1)] == ["rejected", "accepted"] * 5
    with Terminal([PROGRAM, "review", str(path)], 100, 30, {"PAIRSMITH_HOME": str(tmp_path)}) as terminal:
        terminal.wait("✓ 5")
        terminal.send("u")
        terminal.wait("undone: accepted pair 3")
        terminal.send("\x11")
        assert terminal.wait_end() == 0


def test_pairsmith_with_a_workspace_opens_the_application(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    with Terminal(
        [PROGRAM, str(tmp_path / "w.pairsmith")], 100, 30, {"PAIRSMITH_HOME": str(tmp_path)}
    ) as terminal:
        terminal.wait("w.pairsmith")
        since = terminal.mark()
        terminal.send("5")
        terminal.wait("Who changed this line", since)
        terminal.send("\x11")
        assert terminal.wait_end() == 0


def test_a_file_that_is_no_workspace_is_one_line_and_exit_code_4(tmp_path: Path) -> None:
    path = tmp_path / "x.pairsmith"
    path.write_bytes(b"not a database at all" * 100)
    done = subprocess.run([PROGRAM, "review", str(path)], capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr.startswith("pairsmith: ")
    assert len(done.stderr.splitlines()) == 1


def test_all_that_a_program_wrote_is_there_when_its_end_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = os.read

    def late(fd: int, size: int) -> bytes:
        data = read(fd, size)
        time.sleep(0.3)
        return data

    monkeypatch.setattr("tests.terminal.os.read", late)
    with Terminal(["printf", "\033[?1049l"]) as terminal:
        assert terminal.wait_end() == 0
        assert bytes(terminal.raw) == b"\x1b[?1049l"


def test_a_program_that_does_not_end_is_ended_and_named() -> None:
    with pytest.raises(TimeoutError, match="did not end"), Terminal(["sleep", "60"]) as terminal:
        terminal.wait_end(0.1)


def test_quitting_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    with Terminal(
        [PROGRAM, "review", str(tmp_path / "w.pairsmith")], env={"PAIRSMITH_HOME": str(tmp_path)}
    ) as terminal:
        terminal.wait("Who changed this line")
        terminal.send("\x11")
        assert terminal.wait_end() == 0
        for ending in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l"):
            assert ending in terminal.raw


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_same_in_tmux(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    socket = f"pairsmith-{os.getpid()}"

    def tmux(*words: str) -> str:
        env = {**os.environ, **ENVIRONMENT, "TMUX": "", "TERM": "xterm-256color"}
        return subprocess.run(["tmux", "-L", socket, *words], capture_output=True, text=True, env=env).stdout

    def until(condition: Callable[[str], bool], what: str) -> None:
        end = time.monotonic() + 30
        while not condition(text := tmux("capture-pane", "-p", "-t", "review")):
            assert time.monotonic() < end, f"{what} did not come:\n{text}"
            time.sleep(0.1)

    command = f"PAIRSMITH_HOME='{tmp_path}' '{PROGRAM}' review '{path}'"
    tmux("-f", "/dev/null", "new-session", "-d", "-s", "review", "-x", "80", "-y", "24", command)
    try:
        until(lambda text: "Who changed this line" in text, "the first pair")
        for number in range(10):
            tmux("send-keys", "-t", "review", "a")
            until(
                lambda text, n=number: f"✓ {n + 1}" in text or f"#{12 - n:03} accepted" in text,
                f"verdict {number}",
            )
        until(lambda text: "#003 accepted" in text or "✓ 10" in text, "the tenth verdict")
        pid = tmux("list-panes", "-t", "review", "-F", "#{pane_pid}").strip()
        child = subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True).stdout.split()
        os.kill(int(child[0] if child else pid), 9)
    finally:
        tmux("kill-server")
    with open_workspace(path) as workspace:
        assert verdicts(workspace)[3] == "accepted"


COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


def test_no_color_takes_every_colour_away_and_leaves_the_text(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    found = {}
    for name, env in (("colour", {}), ("plain", {"NO_COLOR": "1"})):
        home = {"PAIRSMITH_HOME": str(tmp_path), **env}
        with Terminal([PROGRAM, "review", str(tmp_path / "w.pairsmith")], 100, 30, home) as terminal:
            terminal.wait("Who changed this line")
            terminal.quiet()
            terminal.send("\x11")
            assert terminal.wait_end() == 0
            codes = [code for code in COLOUR.findall(bytes(terminal.raw)) if not _is_grey(code)]
            found[name] = (bool(codes), b"Who changed this line" in bytes(terminal.raw), codes[:3])
    assert found["colour"][0]
    assert found["plain"][:2] == (False, True), found


def _is_grey(code: bytes) -> bool:
    """Shades of grey are none: black text on grey still tells what is where."""
    part = re.search(rb"[34]8;2;(\d+);(\d+);(\d+)", code)
    return part is not None and len(set(part.groups())) == 1


def test_a_pair_is_handed_to_a_real_editor_and_comes_back_with_the_terminal(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    path, script = tmp_path / "w.pairsmith", tmp_path / "editor"
    script.write_text(
        "#!/bin/sh\n"
        "[ -t 0 ] && [ -t 1 ] || exit 3\n"
        "printf 'EDITOR HAS THE TERMINAL'\n"
        "read -r word < /dev/tty\n"
        'sed "s/git blame file/git blame $word/" "$1" > "$1.new" && cat "$1.new" > "$1" && rm "$1.new"\n'
    )
    script.chmod(0o755)
    env = {"PAIRSMITH_HOME": str(tmp_path), "EDITOR": str(script), "VISUAL": ""}
    with Terminal([PROGRAM, "review", str(path)], 100, 30, env) as terminal:
        terminal.wait("Who changed this line")
        since = terminal.mark()
        terminal.send("E")
        terminal.wait("EDITOR HAS THE TERMINAL", since)
        assert b"\x1b[?1049l" in terminal.raw[since:]  # the application has left the screen
        since = terminal.mark()
        terminal.send("-L 1,3 file\n")
        terminal.wait("git blame -L 1,3 file", since)
        assert b"\x1b[?1049h" in terminal.raw[since:]
        since = terminal.mark()
        terminal.send("a")  # keys are the application's again
        terminal.wait("accepted · u takes it back", since)
        terminal.send("\x11")
        assert terminal.wait_end() == 0
    with open_workspace(path) as workspace:
        assert verdicts(workspace)[12] == "accepted"
        texts = workspace.read(
            lambda conn: conn.execute(
                "SELECT output, maker FROM version WHERE pair_id = 12 ORDER BY number"
            ).fetchall()
        )
    assert [tuple(row) for row in texts] == [("git blame file", "model"), ("git blame -L 1,3 file", "human")]


@pytest.mark.parametrize("editor", ["/nowhere/editor", "false"])
def test_an_editor_that_fails_changes_nothing_and_the_application_goes_on(
    tmp_path: Path, editor: str
) -> None:
    git_workspace(tmp_path).close()
    env = {"PAIRSMITH_HOME": str(tmp_path), "EDITOR": editor, "VISUAL": ""}
    with Terminal([PROGRAM, "review", str(tmp_path / "w.pairsmith")], 100, 30, env) as terminal:
        terminal.wait("Who changed this line")
        since = terminal.mark()
        terminal.send("E")
        terminal.wait("the editor", since)
        terminal.quiet()
        since = terminal.mark()
        terminal.send("a")
        terminal.wait("u takes it back", since)
        terminal.send("\x11")
        assert terminal.wait_end() == 0


def test_nothing_heavy_is_loaded_when_the_first_pair_is_painted(tmp_path: Path) -> None:
    git_workspace(tmp_path).close()
    code = f"""
import asyncio, sys
from pathlib import Path
from pairsmith.cli.main import COMMANDS
from pairsmith.tui import start
from pairsmith.tui.app import PairsmithApp
class Probe(PairsmithApp):
    async def _watch(self):
        while not getattr(self.screen, "pane", None) or not self.screen.pane.rows or self.screen.current is None:
            await asyncio.sleep(0)
        print("LOADED", sorted(set({HEAVY!r}) & set(sys.modules)), file=open(sys.argv[2], "w"))
        self.exit(0)
    async def on_mount(self):
        self.run_worker(self._watch())
start.PairsmithApp = Probe
sys.exit(start.run(Path(sys.argv[1]), start="review"))
"""
    report = tmp_path / "report"
    command = [sys.executable, "-P", "-c", code, str(tmp_path / "w.pairsmith"), str(report)]
    with Terminal(command, env={"PAIRSMITH_HOME": str(tmp_path)}) as terminal:
        assert terminal.wait_end() == 0
    assert report.read_text().strip() == "LOADED []"
