"""Hostile text on the screen: nothing of it reaches the terminal as a command, nothing ends the application."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.topics import add_topic
from pairsmith.pairs.store.verdicts import decide, get_verdict
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.tui.text import Mask, cut, fill, line, safe, wrap

from .hostile import CORPUS, SHORT
from .screens import WIDE, git_workspace, press, review_of, reviewing, screen_text, settle
from .stores import new_workspace
from .terminal import Terminal, sequences, strip

HARMFUL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\U000e0000-\U000e0fff]|[\u0300-\u036f]{5}"
)


def hostile_workspace(folder: Path, texts: tuple[str, ...] = CORPUS) -> Workspace:
    """Every text as instruction, input and response, and the short ones as everything else that has a name."""
    workspace = new_workspace(folder)

    def build(conn: Any) -> None:
        for number, text in enumerate(texts):
            short = SHORT[number % len(SHORT)]
            topic = add_topic(conn, f"{short[:200]} {number}", maker="model")
            pair = NewPair(
                f"{number} {text}", text + "\n" + text[:100], text[:2000], topic_id=topic, origin="imported"
            )
            pair_id = add_pair(conn, pair)
            version = get_pair(conn, pair_id).version.id
            if number % 3:
                scores = {short[:60] or "x": Score(1.0 + number % 3), "helpfulness": Score(2.0)}
                judgement = Judgement(f"nim:{short[:80]}", "json", scores=scores)
            else:
                judgement = Judgement(f"nim:{short[:80]}", "json", reason=short)
            add_judgement(conn, version, judgement)
            if number % 4 == 0:
                decide(conn, [pair_id], "rejected", reason=short, tags=[short[:50] or "t"], note=short)
            if number % 5 == 0:
                edit_pair(conn, pair_id, output=text[:5000] + " edited")

    workspace.write(build)
    return workspace


ESCAPE = "\x1b[27u"
"""The key alone: a lone escape byte and the next key together would be another key."""
FOOT = "a accept"
"""Painted again when a box is left."""
VERSIONS = (("v", ""), ("v", ""), (ESCAPE, ""), ("J", ""), ("K", ""))
EDITOR = (("\t", ""), (ESCAPE, FOOT))
NOTE = (("n", "Words on #"), (ESCAPE, FOOT))
EVERY = (
    *(("d", ""), ("j", ""), (ESCAPE, ""), ("s", "Statistics"), ("j", ""), (ESCAPE, FOOT)),
    *(("t", "Thresholds"), ("\t", ""), (ESCAPE, FOOT), ("o", "In which order"), ("l", ""), (ESCAPE, FOOT)),
    *(("f", "Which pairs"), ("jj", ""), ("lll", ""), ("jjjj", ""), ("ll", ""), (ESCAPE, FOOT)),
    *(("/", "Find"), ("reversed", ""), (ESCAPE, FOOT), ("?", "Accept the pair"), (ESCAPE, FOOT)),
    *(("b", "pairs"), (ESCAPE, FOOT), ("\x10", ""), (ESCAPE, FOOT), ("a", ""), ("r", ""), ("u", "")),
)


def walk(workspace: Path, pairs: int, home: Path) -> bytes:
    """What a terminal gets while somebody goes through every pair and every box."""
    command = [sys.executable, "-P", "-m", "pairsmith.cli.main", "review", str(workspace)]
    with Terminal(command, 110, 34, {"PAIRSMITH_HOME": str(home)}) as terminal:

        def strike(*keys: tuple[str, str | tuple[str, ...]]) -> bytes:
            """Each key, until what it shows is there; what was written since the last."""
            for key, shown in keys:
                since = terminal.mark()
                terminal.send(key)
                if shown:
                    terminal.wait(shown, since)
                terminal.settle(0.04 if shown else 0.15)
            return strip(bytes(terminal.raw[since:]))

        terminal.wait("first")
        strike(("f", "Which pairs"), ("l", "any"), ("\r", f"#{pairs:03}"))
        for number in range(pairs, 0, -1):
            if number % 6 == 1:
                strike(*VERSIONS)
                if b"too long" not in strike(("e", ("Edit #", "too long to edit"))):
                    strike(*EDITOR)
                strike(*NOTE)
            strike(("j", f"#{number - 1:03}" if number > 1 else ""))
        strike(*EVERY)
        terminal.send("\x11")
        assert terminal.wait_end() == 0
        return bytes(terminal.raw)


def shape(sequence: bytes) -> bytes:
    """A sequence without what varies harmlessly: colours, cursor positions."""
    if re.fullmatch(rb"\x1b\[[0-9;:]*[mH]", sequence):
        return sequence[-1:]
    return sequence


def test_no_hostile_byte_reaches_a_real_terminal(tmp_path: Path) -> None:
    for name in ("tame", "wild"):
        (tmp_path / name).mkdir()
    tame = tuple(f"text {n}\nsecond line 中文 e\u0301" for n in range(7))
    streams = []
    for name, texts in (("tame", tame), ("wild", CORPUS)):
        hostile_workspace(tmp_path / name, texts).close()
        if name == "tame":
            with open_workspace(tmp_path / name / "w.pairsmith") as workspace:
                workspace.write(lambda conn: conn.execute("UPDATE topic SET name = 'topic ' || id"))
                workspace.write(
                    lambda conn: conn.execute("UPDATE judgement SET judge = 'nim:judge', rationale = NULL")
                )
                workspace.write(
                    lambda conn: conn.execute("UPDATE judgement SET reason = 'why' WHERE reason IS NOT NULL")
                )
                workspace.write(
                    lambda conn: conn.execute(
                        "UPDATE score SET attribute = 'style' WHERE attribute <> 'helpfulness'"
                    )
                )
                workspace.write(
                    lambda conn: conn.execute("UPDATE verdict SET reason = 'r', tags = '[\"t\"]', note = 'n'")
                )
        streams.append(walk(tmp_path / name / "w.pairsmith", len(texts), tmp_path / name))
    baseline, wild = streams
    new = {shape(s) for s in sequences(wild)} - {shape(s) for s in sequences(baseline)}
    assert not new, f"sequences that only hostile text brings: {sorted(new)}"
    text = wild.decode("utf-8")
    found = HARMFUL.findall(strip(wild).decode("utf-8"))
    assert not found, sorted({hex(ord(c)) for run in found for c in run})
    assert b"\x1b" not in strip(wild)
    assert "␛[2J" in text


@pytest.mark.parametrize("size", [WIDE, (40, 12)])
async def test_every_hostile_pair_is_shown_and_the_reviewer_lives(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    with hostile_workspace(tmp_path) as workspace:
        async with reviewing(workspace, size) as pilot:
            screen = review_of(pilot.app)
            screen.chosen = type(screen.chosen)()
            screen.start(screen.load())
            await settle(pilot)
            assert len(screen.queue) == len(CORPUS)
            for number in range(len(CORPUS)):
                screen.go(number)
                await pilot.pause(0.01)
                assert not HARMFUL.search(screen_text(pilot.app)), CORPUS[-1 - number][:60]


async def test_the_editor_keeps_every_hostile_byte(tmp_path: Path) -> None:
    with hostile_workspace(tmp_path, SHORT) as workspace:
        before = workspace.read(lambda conn: {n: get_pair(conn, n).output for n in range(1, len(SHORT) + 1)})
        async with reviewing(workspace) as pilot:
            screen = review_of(pilot.app)
            screen.chosen = type(screen.chosen)()
            screen.start(screen.load())
            await settle(pilot)
            for position in range(0, len(SHORT), 5):
                screen.go(position)
                row = screen.current
                assert row is not None
                await press(pilot, "e", "X", "f2")
                after = workspace.read(lambda conn, n=row.id: get_pair(conn, n)).output
                assert after in (f"X{before[row.id]}", f"{before[row.id]}X")


async def test_words_on_a_verdict_are_shown_harmlessly_and_kept_byte_for_byte(tmp_path: Path) -> None:
    reason, tag, note = "\u202ereversed\u202c \x1b]0;title\x07", "t\u200bag\x9b2J", "\x1b[2J\u2066note"
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: decide(conn, [12], "rejected", reason=reason, tags=[tag], note=note))
        async with reviewing(workspace) as pilot:
            screen = review_of(pilot.app)
            screen.chosen = type(screen.chosen)()
            screen.start(screen.load())
            await settle(pilot)
            await press(pilot, "n")
            assert "Words on #012" in screen_text(pilot.app)
            assert not HARMFUL.search(screen_text(pilot.app))
            await press(pilot, "end", "X", "f2")
        version = workspace.read(lambda conn: get_pair(conn, 12)).version.id
        given = workspace.read(lambda conn: get_verdict(conn, version))
        assert given is not None
        assert (given.reason, given.tags, given.note) == (f"{reason}X", (tag,), note)


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_mask_gives_every_text_back_and_is_harmless_meanwhile(text: str) -> None:
    mask = Mask(text)
    masked = mask.mask(text)
    assert mask.unmask(masked) == text
    assert not HARMFUL.search(masked)
    assert len(masked) == len(text)
    assert "\x1b" not in masked


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(4, 60))
def test_wrapped_lines_fit_and_hold_nothing_harmful(text: str, width: int) -> None:
    for part in wrap(text, width):
        assert cell_len(part) <= max(width, 2)
        assert "\n" not in part
        assert not HARMFUL.search(part)
        assert "\x1b" not in part


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(1, 60))
def test_lines_are_cut_to_their_cells(text: str, cells: int) -> None:
    assert cell_len(line(text, cells)) <= cells
    assert cell_len(fill(line(text, cells), cells)) == cells
    assert cell_len(cut(safe(text.replace("\n", " ")), cells)) <= cells


def test_sizes_are_capped_and_said() -> None:
    assert "more lines" in safe("\n" * 1_000_000, 10_000_000)
    assert "more characters" in safe("x" * 1_000_000)
    assert len(wrap("\n" * 1_000_000, 80)) < 2_000


async def test_a_workspace_with_a_hostile_name_is_shown_harmlessly(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    git_workspace(folder).close()
    path = folder / "a\x1b[2J[b]‮.pairsmith"
    (folder / "w.pairsmith").rename(path)
    with open_workspace(path) as workspace:
        async with reviewing(workspace) as pilot:
            assert not HARMFUL.search(screen_text(pilot.app))
            assert "␛" in screen_text(pilot.app)
