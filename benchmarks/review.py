"""The reviewer at a million pairs: from a key written to a real pseudo-terminal to the new pair in its output.

    python benchmarks/review.py [--pairs 1000000] [--keys 200] [--folder FOLDER]

Measures j, a, r, u and page moves (without and with the commit), the first row, memory, bytes per key, the same with
1,000 pairs, and start-up beside an empty Textual application; appends what it found to benchmarks/RESULTS.md. The
workspace is made once and kept in FOLDER (a temporary folder by default). Other work on the machine shows in the
figures: CPU time per key is given beside them.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pairsmith.pairs.store.driver import sqlite3  # noqa: E402
from pairsmith.pairs.store.pair_rows import NewPair, insert_pair, prepare_text  # noqa: E402
from pairsmith.pairs.store.workspace import create_workspace  # noqa: E402
from tests.terminal import Terminal, strip  # noqa: E402

COLUMNS, ROWS = 120, 40
SMALL = 1_000
_BATCH = 20_000
_WORDS = [
    "branch",
    "merge",
    "commit",
    "rebase",
    "stash",
    "remote",
    "fetch",
    "push",
    "pull",
    "tag",
    "blame",
    "bisect",
    "reset",
    "checkout",
    "switch",
    "restore",
    "index",
    "tree",
    "history",
    "conflict",
    "upstream",
    "origin",
    "patch",
    "hook",
    "submodule",
    "worktree",
    "reflog",
    "cherry",
    "pick",
    "squash",
    "amend",
    "diff",
    "log",
    "show",
]
EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("first-frame")
Empty().run()
"""


@dataclass
class Timing:
    """Milliseconds of one kind of key."""

    name: str
    paint: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)

    def row(self) -> str:
        """A line of the table."""
        cells = [quantiles(self.paint), quantiles(self.commit) if self.commit else "-"]
        return f"| {self.name} | {' | '.join(cells)} | {len(self.paint)} |"


def quantiles(values: list[float]) -> str:
    """Median and 95th percentile."""
    return f"{statistics.median(values):.1f} / {p95(values):.1f}"


def p95(values: list[float]) -> float:
    """The 95th percentile (nearest rank)."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def text_of(number: int) -> tuple[str, str]:
    """A pair that differs from every other; the response carries the marker."""
    chosen = random.Random(number)
    words = [chosen.choice(_WORDS) for _ in range(70)]
    return f"Question {number:07}: {' '.join(words[:8])}", f"answer-{number:07} " + textwrap.fill(
        " ".join(words[8:]), 70
    )


def make_workspace(path: Path, pairs: int) -> None:
    """A workspace of so many pairs, by the store's own functions; nothing happens where it is there."""
    if path.exists():
        return
    half_made = path.with_name(f"half-{os.getpid()}.pairsmith")
    started = time.perf_counter()
    with create_workspace(half_made, domain="git", recipe_toml="", language="en") as workspace:
        for start in range(0, pairs, _BATCH):

            def fill(conn: sqlite3.Connection, first: int = start) -> None:
                for number in range(first, min(pairs, first + _BATCH)):
                    instruction, output = text_of(number)
                    pair = NewPair(instruction, output)
                    insert_pair(conn, pair, prepare_text(instruction, "", output))

            workspace.write(fill)
            done = min(pairs, start + _BATCH)
            print(
                f"\r{done:,} pairs, {time.perf_counter() - started:.0f} s",
                end="",
                file=sys.stderr,
                flush=True,
            )
    half_made.rename(path)
    print(file=sys.stderr)


class Session:
    """One reviewer in a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def key(self, keys: str, shown: Callable[[str], bool], saved: str | None = None) -> tuple[float, float]:
        """Write a key; milliseconds until another pair was in the output, and until it was said to be saved."""
        time.sleep(random.uniform(0.03, 0.07))
        self.terminal.quiet(0.02, 1)
        since = self.terminal.mark()
        started = time.perf_counter()
        self.terminal.send(keys)
        paint = self._until(since, shown) - started
        commit = self.terminal.wait(saved, since) - started if saved else 0.0
        return paint * 1000, commit * 1000

    def _until(self, since: int, shown: Callable[[str], bool]) -> float:
        end = time.monotonic() + 20
        terminal = self.terminal
        with terminal._came:
            while True:
                found = re.search(rb"answer-(\d{7})", strip(bytes(terminal.raw[since:])))
                if found and shown(found[1].decode()):
                    return time.perf_counter()
                if time.monotonic() > end:
                    raise TimeoutError("no other pair came")
                terminal._came.wait(0.5)


def measure(path: Path, pairs: int, keys: int, home: Path) -> tuple[list[Timing], dict[str, float]]:
    """All keys on one workspace, undone again at the end; and what else there is to know."""
    program = str(Path(sys.executable).with_name("pairsmith"))
    started = time.perf_counter()
    with Terminal([program, "review", str(path)], COLUMNS, ROWS, {"PAIRSMITH_HOME": str(home)}) as terminal:
        first = terminal.wait(f"answer-{pairs - 1:07}", seconds=60) - started
        terminal.wait(f"· {pairs:,}", seconds=60)
        whole = time.perf_counter() - started
        terminal.quiet(1.0)
        session = Session(terminal)
        timings = {name: Timing(name) for name in ("j", "a", "r", "u", "page")}
        at = pairs - 1
        before, cpu = len(terminal.raw), cpu_seconds(terminal.pid)
        for _ in range(keys):
            at -= 1
            timings["j"].paint.append(session.key("j", f"{at:07}".__eq__)[0])
        sent = (len(terminal.raw) - before) / keys
        spent = (cpu_seconds(terminal.pid) - cpu) / keys * 1000
        for name in ("a", "r"):
            for _ in range(keys // 2):
                at -= 1
                word = "accepted" if name == "a" else "rejected"
                paint, commit = session.key(name, f"{at:07}".__eq__, f"{word} · u takes it back")
                timings[name].paint.append(paint)
                timings[name].commit.append(commit)
        for _ in range(keys // 2 * 2):
            at += 1
            paint, commit = session.key("u", f"{at:07}".__eq__, "U does it again")
            timings["u"].paint.append(paint)
            timings["u"].commit.append(commit)
        now = f"{at:07}"
        for number in range(keys // 2):
            move = "\x1b[6~" if number % 20 < 10 else "\x1b[5~"
            seen: list[str] = []

            def another(marker: str, now: str = now, seen: list[str] = seen) -> bool:
                seen[:] = [marker]
                return marker != now

            timings["page"].paint.append(session.key(move, another)[0])
            now = seen[0]
        facts = {
            "first row, s": first,
            "whole list, s": whole,
            "memory, MB": terminal.rss_mb(),
            "bytes per j": sent,
            "CPU per j, ms": spent,
        }
        terminal.send("\x11")
        terminal.wait_end()
    return list(timings.values()), facts


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_up(path: Path, pairs: int, home: Path, times: int) -> tuple[float, float]:
    """Median seconds to the first frame of the reviewer, and of an empty Textual application, in turns."""
    program = str(Path(sys.executable).with_name("pairsmith"))
    ours: list[float] = []
    empty: list[float] = []
    for _ in range(times):
        for found, command, marker in (
            (empty, [sys.executable, "-c", EMPTY], "first-frame"),
            (ours, [program, "review", str(path)], "Pairsmith"),
        ):
            started = time.perf_counter()
            with Terminal(command, COLUMNS, ROWS, {"PAIRSMITH_HOME": str(home)}) as terminal:
                found.append(terminal.wait(marker) - started)
    return statistics.median(ours), statistics.median(empty)


def main() -> int:
    """Run it all; 0 where every target is met, 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pairsmith-bench")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    report = [f"## Review, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"]
    report.append(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, terminal"
        f" {COLUMNS}x{ROWS}. Milliseconds from the key written to the pseudo-terminal to the new pair in its output"
        " (median / 95th percentile), and to what says that it is saved.\n"
    )
    slow: dict[int, float] = {}
    missed: list[str] = []
    for pairs in (SMALL, arguments.pairs):
        path = folder / f"{pairs}.pairsmith"
        make_workspace(path, pairs)
        timings, facts = measure(path, pairs, arguments.keys, folder)
        slow[pairs] = p95([value for timing in timings for value in timing.paint])
        report.append(
            f"{pairs:,} pairs: " + ", ".join(f"{name} {value:.4g}" for name, value in facts.items()) + "\n"
        )
        report += [
            "| key | paint | saved | n |",
            "|---|---|---|---|",
            *(timing.row() for timing in timings),
            "",
        ]
        missed += [f"{pairs:,}: {t.name} paint p95" for t in timings if p95(t.paint) > 20]
        missed += [f"{pairs:,}: {t.name} saved p95" for t in timings if t.commit and p95(t.commit) > 50]
        limits = {"first row, s": 0.7, "memory, MB": 100, "bytes per j": 4000}
        missed += [f"{pairs:,}: {name}" for name, most in limits.items() if facts[name] > most]
    ratio = slow[arguments.pairs] / slow[SMALL]
    ours, empty = start_up(folder / f"{arguments.pairs}.pairsmith", arguments.pairs, folder, arguments.starts)
    report.append(
        f"p95 of all keys, {arguments.pairs:,} : {SMALL:,} pairs = {ratio:.2f} (at most 1.2). First frame {ours:.2f} s,"
        f" an empty Textual application {empty:.2f} s: {ours / empty:.2f} times (at most 1.4)."
    )
    missed += ["flatness"] * (ratio > 1.2) + ["start-up"] * (ours / empty > 1.4)
    report.append(f"Missed: {', '.join(missed) or 'nothing'}.\n")
    text = "\n".join(report)
    print(text)
    with (ROOT / "benchmarks" / "RESULTS.md").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
