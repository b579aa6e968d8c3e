"""The loss curve with 100,000 points: processor time of one update, point appended to lines repainted, at 100x30.

    python benchmarks/curve.py [--points 100000] [--updates 100]

Appends what it found to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import platform
import random
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from textual.app import App, ComposeResult
from textual.geometry import Region

from pairsmith.tui.widgets.curve import Series, curve_rows
from pairsmith.tui.widgets.lines import Lines

RESULTS = Path(__file__).with_name("RESULTS.md")
WIDTH, HEIGHT = 100, 30
WANTED_MS = 15.0


class Bare(App[None]):
    """Nothing but the curve."""

    def compose(self) -> ComposeResult:
        """One area."""
        yield Lines(id="curve")


async def measure(points: int, updates: int) -> list[float]:
    """Milliseconds of processor time of each update, its repaint included."""
    draw = random.Random(1)
    series = Series()
    for step in range(1, points + 1):
        series.append(step, 3.6 * math.exp(-step / points * 6) + 0.4 + draw.random() * 0.2)
    marks = [(step, 1.0) for step in range(0, points, max(1, points // 40))]
    found = []
    app = Bare()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        area = app.query_one(Lines)
        for step in range(points + 1, points + updates + 1):
            start = time.process_time()
            series.append(step, 0.4 + draw.random() * 0.2)
            area.show_rows(curve_rows(series, marks, WIDTH, HEIGHT, step, "loss"))
            area.render_lines(Region(0, 0, WIDTH, HEIGHT))
            found.append((time.process_time() - start) * 1000)
            await pilot.pause()
    return found


def main() -> int:
    """0 where every update is quick enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--updates", type=int, default=100)
    chosen = parser.parse_args()
    lines = []
    median = 0.0
    for points in (1_000, chosen.points):
        times = asyncio.run(measure(points, chosen.updates))
        median = statistics.median(times)
        p95 = sorted(times)[int(len(times) * 0.95) - 1]
        lines.append(
            f"- {points:,} points, {WIDTH}x{HEIGHT}: median {median:.1f} ms, 95th percentile {p95:.1f} ms of processor"
            f" time an update (wanted at most {WANTED_MS:.0f})"
        )
    print("\n".join(lines))
    about = f"Python {platform.python_version()}, {platform.machine()}; other work on the machine."
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(
            f"\n## Loss curve, curve.py ({datetime.now(UTC):%Y-%m-%d})\n\n{about}\n\n"
            + "\n".join(lines)
            + "\n"
        )
    return 0 if median <= WANTED_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
