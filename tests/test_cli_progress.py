"""The progress bar: a bar on a terminal, lines elsewhere, and never more than the terminal is wide."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pairsmith.cli.main import main
from pairsmith.cli.progress import Progress, duration

from .command_line import COMMAND, environment, git_rows, write_rows


def made(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, total: int | None = 100) -> Progress:
    monkeypatch.setattr("pairsmith.cli.progress._is_terminal", lambda: terminal)
    return Progress("judge", total, "pairs")


def test_rate_and_time_left_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = made(monkeypatch, terminal=True)
    start = bar._samples[0][0]
    bar.done = 20
    text = bar.text(start + 10, 100)
    assert text.startswith("judge  [######........................]  20/100 pairs  120/min  40 s left")


def test_what_was_there_before_counts_for_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = made(monkeypatch, terminal=True)
    bar.restart(90)
    start = bar._samples[0][0]
    bar.done = 92
    assert bar.rate(start + 2) == pytest.approx(1)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_line_is_never_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bar = made(monkeypatch, terminal=True)
    bar.note = "x" * 300
    assert len(bar.text(time.monotonic(), width)) < max(width, 21)


def test_notes_cannot_command_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = made(monkeypatch, terminal=True)
    bar.note = "\x1b]52;c;evil\x07 \x9b31m \n next"
    text = bar.text(time.monotonic(), 200)
    assert "evil" in text
    assert "next" in text
    assert all(ord(char) >= 32 and not 0x7F <= ord(char) < 0xA0 for char in text)


def test_elsewhere_it_says_a_line_every_few_seconds_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = made(monkeypatch, terminal=False)
    for number in range(1000):
        bar.update(number, 1000)
    assert capsys.readouterr().err == ""
    bar._shown_at -= 6
    bar.update(1000, 1000)
    assert capsys.readouterr().err.startswith("judge  1,000/1,000 pairs")
    bar.say("a notice")
    assert capsys.readouterr().err == "a notice\n"


def test_times_are_readable() -> None:
    assert [duration(s) for s in (0.1, 40, 89, 120, 3600, 11400)] == [
        "1 s",
        "40 s",
        "89 s",
        "2 min",
        "60 min",
        "3 h 10 min",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_on_a_terminal_the_bar_is_drawn_and_taken_away(tmp_path: Path) -> None:
    import pty
    import subprocess

    assert main(["new", str(tmp_path / "w"), "--domain", "git"]) == 0
    rows = write_rows(tmp_path / "rows.jsonl", git_rows(20_000))
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [str(COMMAND), "import", str(tmp_path / "w"), str(rows)],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment({"TERM": "xterm"}),
    )
    os.close(slave)
    drawn = b""
    try:
        while piece := os.read(master, 4096):
            drawn += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(master)
    assert child.stdout is not None
    assert b"imported 20,000 pairs" in child.stdout.read()
    child.stdout.close()
    assert child.wait(60) == 0
    assert b"\rimport" in drawn
    assert drawn.endswith(b"\r\x1b[K")
