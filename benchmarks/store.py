"""The store at scale: what inserting, paging, deciding, undoing, searching, reading and checking cost.

    python benchmarks/store.py [--pairs 1000000] [--keep FILE] [--append]

Makes a workspace of its own in a scratch folder. --append adds the figures to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pairsmith.pairs.store import journal
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.paging import Order, Threshold, page, snapshot_ids
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pairs
from pairsmith.pairs.store.search import search
from pairsmith.pairs.store.stats import count_verdicts, read_stats
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace, create_workspace, open_workspace

WORDS = 20_000


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="make the workspace here, or use the one that is here")
    parser.add_argument("--append", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "big.pairsmith"
        lines = [f"{name}: {figure}" for name, figure in measure(path, options.pairs)]
    report = "\n".join(
        [
            f"\n## Store, {options.pairs:,} pairs ({time.strftime('%Y-%m-%d')})\n",
            f"SQLite {sqlite3.sqlite_version}, Python {platform.python_version()}, {platform.machine()};"
            " WAL, synchronous=FULL; other work on the machine.\n",
            *(f"- {line}" for line in lines),
            "",
        ]
    )
    print(report)
    if options.append:
        with (Path(__file__).parent / "RESULTS.md").open("a", encoding="utf-8") as file:
            file.write(report)


def vocabulary() -> list[str]:
    """Words, the most frequent first."""
    rng = random.Random(1)
    return [f"{rng.choice('bcdfgklmnprst')}{rng.choice('aeiou')}{i:x}" for i in range(WORDS)]


def rows(count: int) -> Iterator[ImportRow]:
    """Pairs of about 760 characters of words whose frequencies fall like those of a language."""
    rng = random.Random(1)
    weights = [1 / (i + 1) for i in range(WORDS)]
    pool = rng.choices(vocabulary(), weights, k=400_000)
    topics = [(f"topic {i}",) for i in range(40)]
    for i in range(count):
        start = rng.randrange(len(pool) - 200)
        yield ImportRow(
            f"{i} {' '.join(pool[start : start + 20])}?",
            " ".join(pool[start + 20 : start + 150]),
            line=i + 1,
            topic=topics[i % 40],
        )


def measure(path: Path, count: int) -> Iterator[tuple[str, str]]:
    """Each measurement as (what, figure), printed as it comes."""
    if not path.exists():
        with create_workspace(path, domain="benchmark", recipe_toml="", language="en") as workspace:
            seconds = timed(
                lambda: workspace.write(lambda c: import_pairs(c, rows(count), BatchInfo("made", "x")))
            )
            yield show("import, one transaction", f"{seconds:.1f} s ({count / seconds:,.0f} pairs/s)")
            seconds = timed(lambda: workspace.write(lambda c: judge(c, count)))
            yield show("scores for one pair in ten", f"{seconds:.1f} s")
        yield show("file", f"{path.stat().st_size / 1e6:,.0f} MB")
    yield show("open and first page", milliseconds([timed(lambda: first_page(path)) for _ in range(9)]))
    with open_workspace(path) as workspace:
        yield from measure_reading(workspace)
        yield from measure_writing(workspace)
    yield show("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def measure_reading(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Pages, orders, search, counts."""
    read = workspace.read
    words = vocabulary()
    newest = read(lambda c: snapshot_ids(c, limit=1))[0]
    filters = {
        "all": PairFilter(),
        "undecided": PairFilter(verdict="undecided"),
        "not rejected": PairFilter(verdict="not-rejected"),
        "one topic": PairFilter(topic_id=7),
        "two common words": PairFilter(text=f"{words[2]} {words[9]}"),
    }
    for name, chosen in filters.items():
        for place in (newest, newest // 2, 100):
            times = [timed(lambda p=place, f=chosen: read(lambda c: page(c, f, p))) for _ in range(15)]  # type: ignore[misc]
            yield show(f"page of 50, {name}, at {place:,}", milliseconds(times))
    orders = {
        "newest": Order(),
        "by score": Order("score", "bench", "helpfulness"),
        "least certain": Order("least certain", "bench", thresholds=(Threshold("helpfulness", ">=", 3),)),
    }
    for name, order in orders.items():
        yield show(
            f"order of all, {name}",
            f"{timed(lambda o=order: read(lambda c: snapshot_ids(c, order=o))):.2f} s",
        )  # type: ignore[misc]
    seconds = timed(lambda: read(lambda c: snapshot_ids(c, PairFilter(text=words[0]))))
    yield show("order of all that match the commonest word", f"{seconds:.2f} s")
    ids = read(lambda c: snapshot_ids(c))
    rng = random.Random(2)
    scattered = [[rng.choice(ids) for _ in range(50)] for _ in range(20)]
    times = [timed(lambda s=s: read(lambda c: get_pairs(c, s))) for s in scattered]  # type: ignore[misc]
    yield show("50 pairs anywhere", milliseconds(times))
    queries = {
        "the commonest word": words[0],
        "two common words": f"{words[2]} {words[9]}",
        "a rare word": words[-1],
        "two letters": "to",
        "a phrase of the commonest": f'"{words[0]} {words[1]}"',
        "nothing": "nosuchword",
    }
    for name, query in queries.items():
        times = [timed(lambda q=query: read(lambda c: search(c, q))) for _ in range(9)]  # type: ignore[misc]
        yield show(f"search, {name}", milliseconds(times))
    yield show("counts by verdict", f"{timed(lambda: read(count_verdicts)) * 1000:.0f} ms")
    yield show("all statistics", f"{timed(lambda: read(read_stats)):.2f} s")


def measure_writing(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Single acts with their commit, and one act on everything."""
    write = workspace.write
    ids = workspace.read(lambda c: snapshot_ids(c, limit=200))
    times = [timed(lambda i=i: write(lambda c: decide(c, [i], "accepted"))) for i in ids]  # type: ignore[misc]
    yield show("accept one pair", milliseconds(times))
    times = [timed(lambda: write(journal.undo)) for _ in ids]
    yield show("undo it", milliseconds(times))
    times = [timed(lambda i=i: write(lambda c: edit_pair(c, i, output=f"edited {i}"))) for i in ids]  # type: ignore[misc]
    yield show("edit one pair", milliseconds(times))
    for _ in ids:
        write(journal.undo)
    stamp = time.time_ns()
    times = [
        timed(lambda n=n: write(lambda c: add_pair(c, NewPair(f"new {stamp} {n}", "response"))))
        for n in range(200)  # type: ignore[misc]
    ]
    yield show("add one pair", milliseconds(times))
    everything = PairFilter(verdict="undecided")
    yield show("accept all", f"{timed(lambda: write(lambda c: decide(c, everything, 'accepted'))):.1f} s")
    yield show("undo it", f"{timed(lambda: write(journal.undo)):.1f} s")
    yield show("redo it", f"{timed(lambda: write(journal.redo)):.1f} s")
    yield show("undo it again", f"{timed(lambda: write(journal.undo)):.1f} s")


def judge(conn: sqlite3.Connection, count: int) -> None:
    """A score for every tenth version."""
    rng = random.Random(3)
    for version_id in range(1, count, 10):
        scores = {"helpfulness": Score(rng.uniform(0, 4)), "verbosity": Score(rng.uniform(0, 4))}
        add_judgement(conn, version_id, Judgement("bench", "reward", scores=scores))


def first_page(path: Path) -> None:
    """Open, read one page, close."""
    with open_workspace(path) as workspace:
        workspace.read(lambda c: page(c))


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def milliseconds(times: list[float]) -> str:
    """Median and largest."""
    return f"median {statistics.median(times) * 1000:.2f} ms, largest {max(times) * 1000:.1f} ms"


def show(name: str, figure: str) -> tuple[str, str]:
    """Print a figure as soon as it is there."""
    print(f"{name}: {figure}", file=sys.stderr, flush=True)
    return name, figure


if __name__ == "__main__":
    main()
