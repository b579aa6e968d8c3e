"""The reviewer while a model is trained beside it: j before and during, in one application, and what freezes.

    python benchmarks/review_training.py [--pairs 1000000] [--keys 200] [--base scratch:small] [--folder FOLDER]

The training is started by the application's own keys (6, g) on 300 accepted pairs, in its own child process, on every
core that it takes. `j` is measured as benchmarks/review.py does, in turns: the training stopped (SIGSTOP), then going
on, so that both see the same hour of a shared machine. Appends what it found to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.review import (  # noqa: E402
    COLUMNS,
    ROWS,
    Session,
    Timing,
    cpu_seconds,
    make_workspace,
    p95,
)
from pairsmith.pairs.store.driver import sqlite3  # noqa: E402
from pairsmith.pairs.store.runs import set_state, start_run  # noqa: E402
from pairsmith.pairs.store.verdicts import decide  # noqa: E402
from pairsmith.pairs.store.workspace import open_workspace  # noqa: E402
from pairsmith.pairs.training_settings import TrainSettings  # noqa: E402
from pairsmith.tui.screens.train_form import DEFAULTS  # noqa: E402
from tests.terminal import Terminal  # noqa: E402

TRAINED = 300
ROUNDS = 5
MOST_RATIO, FREEZE_MS = 1.3, 50.0


def prepare(path: Path, pairs: int, base: str) -> None:
    """The oldest pairs accepted, and the form filled in: it begins with the settings of the last run."""
    make_workspace(path, pairs)
    config = {**DEFAULTS, "epochs": 10_000, "sample_tokens": 0, "validate_every": 0}
    settings = TrainSettings(base, "accepted", config=config).identity()

    def fill(conn: sqlite3.Connection) -> None:
        oldest = [int(row[0]) for row in conn.execute("SELECT id FROM pair ORDER BY id LIMIT ?", (TRAINED,))]
        decide(conn, oldest, "accepted", by="human")
        set_state(conn, start_run(conn, "train", settings), "failed", "only its settings are wanted")

    with open_workspace(path) as workspace:
        workspace.write(fill)


def children(pid: int) -> list[int]:
    """The processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def press_j(session: Session, at: int, keys: int, timing: Timing) -> int:
    """So many times j, and where that leads."""
    for _ in range(keys):
        at -= 1
        timing.paint.append(session.key("j", f"{at:07}".__eq__)[0])
    return at


def measure(path: Path, pairs: int, keys: int, home: Path) -> tuple[list[Timing], float]:
    """j beside a stopped training and beside a running one, and how many cores that took meanwhile."""
    program = str(Path(sys.executable).with_name("pairsmith"))
    with Terminal([program, "review", str(path)], COLUMNS, ROWS, {"PAIRSMITH_HOME": str(home)}) as terminal:
        terminal.wait(f"answer-{pairs - 1:07}", seconds=60)
        terminal.wait(f"· {pairs - TRAINED:,}", seconds=60)
        terminal.quiet(1.0)
        session, at = Session(terminal), pairs - 1
        terminal.send("6")
        terminal.wait(f"{TRAINED} pairs: {TRAINED} accepted", seconds=60)
        since = terminal.mark()
        terminal.send("g")
        terminal.wait("tokens/s", since, seconds=300)
        since = terminal.mark()
        terminal.send("5")
        terminal.wait(f"answer-{at:07}", since)
        time.sleep(2)
        below = children(terminal.pid)
        idle, busy = Timing("j, nothing else runs"), Timing("j, while a model is trained")
        spent = took = 0.0
        for _ in range(ROUNDS):
            tell(below, signal.SIGSTOP)
            at = press_j(session, at, keys, idle)
            tell(below, signal.SIGCONT)
            before, began = sum(map(cpu_seconds, below)), time.monotonic()
            at = press_j(session, at, keys, busy)
            spent += sum(map(cpu_seconds, below)) - before
            took += time.monotonic() - began
    return [idle, busy], spent / took


def tell(processes: list[int], what: signal.Signals) -> None:
    """Stop processes or let them go on, and wait until that is so."""
    for process in processes:
        os.kill(process, what)
    time.sleep(1)


def main() -> int:
    """Run it; 0 where every target is met, 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=200, help="in each of ten turns")
    parser.add_argument("--base", default="scratch:small", help="what is trained; all of it is random")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pairsmith-bench")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    whole = arguments.folder / f"{arguments.pairs}.pairsmith"
    make_workspace(whole, arguments.pairs)
    home = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        path = home / "training.pairsmith"
        shutil.copyfile(whole, path)
        prepare(path, arguments.pairs, arguments.base)
        load = os.getloadavg()[0]
        (idle, busy), cores = measure(path, arguments.pairs, arguments.keys, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    ratio, longest = p95(busy.paint) / p95(idle.paint), max(busy.paint)
    missed = [f"p95 {ratio:.2f} times that of idle"] * (ratio > MOST_RATIO)
    missed += [f"a freeze of {longest:.0f} ms"] * (longest > FREEZE_MS)
    text = "\n".join(
        [
            f"## Review beside a training, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"Python {platform.python_version()}, {os.cpu_count()} cores, load before {load:.1f},"
            f" {arguments.pairs:,} pairs, {arguments.base} trained by the application's own child on {cores:.2f} cores"
            " meanwhile. Milliseconds from the key to the new pair in the output (median / 95th percentile).\n",
            "| key | paint | saved | n |",
            "|---|---|---|---|",
            idle.row(),
            busy.row(),
            "",
            f"p95 {ratio:.2f} times that of idle (at most {MOST_RATIO}), the longest {longest:.0f} ms (at most"
            f" {FREEZE_MS:.0f}; idle {max(idle.paint):.0f}). Missed: {', '.join(missed) or 'nothing'}.\n",
        ]
    )
    print(text)
    with (ROOT / "benchmarks" / "RESULTS.md").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
