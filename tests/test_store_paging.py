"""Lists of pairs: every filter and order against a plain Python one, at a cost flat in the number of rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.store import journal, topics
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.edits import add_model_version, edit_pair
from pairsmith.pairs.store.filters import PairFilter, compile_filter
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.paging import (
    Order,
    Threshold,
    count_pairs,
    ids_after,
    page,
    page_ids,
    snapshot_ids,
)
from pairsmith.pairs.store.pair_rows import NewPair, Pair, add_pair, get_pair, get_pairs
from pairsmith.pairs.store.runs import start_run
from pairsmith.pairs.store.scores import attributes, judges, scores_of
from pairsmith.pairs.store.stats import count_verdicts, read_stats
from pairsmith.pairs.store.verdicts import all_tags, decide, get_verdicts
from pairsmith.pairs.store.workspace import Workspace
from tests.stores import new_workspace

THRESHOLDS = (Threshold("helpfulness", ">=", 2.5), Threshold("verbosity", "<=", 2))


def fill(conn: sqlite3.Connection, count: int) -> None:
    """Pairs of every kind, in a fixed random mixture."""
    rng = random.Random(1)
    root = topics.add_topic(conn, "root")
    below = topics.add_topic(conn, "below", parent_id=root)
    other = topics.add_topic(conn, "other")
    run = start_run(conn, "generate", {"n": 1}, count)
    for n in range(count):
        add_pair(
            conn,
            NewPair(
                f"Question {n} about {rng.choice(['git', 'merge', '分支'])}",
                f"Answer {n}",
                origin=rng.choice(["generated", "human"]),
                topic_id=rng.choice([root, below, other, None]),
                run_id=rng.choice([run, None]),
            ),
        )
    for pair_id in range(1, count + 1):
        kind = rng.random()
        if kind < 0.1:
            edit_pair(conn, pair_id, output=f"edited {pair_id}")
        elif kind < 0.15:
            add_model_version(conn, pair_id, f"anew {pair_id}")
        if rng.random() < 0.5:
            verdict = rng.choice(["accepted", "rejected"])
            decide(conn, [pair_id], verdict, tags=rng.choice([["good"], [], []]))
        if rng.random() < 0.6:
            judge_pair(conn, pair_id, rng)
    undecided = [i for i in range(1, count + 1) if get_pair(conn, i).verdict == "undecided"]
    decide(conn, undecided[:20], "rejected", by="rule", rule="x")
    import_pairs(conn, [ImportRow(f"imported {n}", "o") for n in range(5)], BatchInfo("f", "x"))


def judge_pair(conn: sqlite3.Connection, pair_id: int, rng: random.Random) -> None:
    version = get_pair(conn, pair_id).version.id
    for _ in range(rng.choice([1, 1, 2])):
        scores = {name: Score(rng.randint(0, 16) / 4) for name in ("helpfulness", "verbosity")}
        judgement = Judgement("j", "reward", scores=scores)
        if rng.random() < 0.2:
            judgement = Judgement("j", "reward", reason="timed out")
        add_judgement(conn, version, judgement)
        add_judgement(conn, version, Judgement("other/judge", "json", scores={"helpfulness": Score(1)}))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with new_workspace(tmp_path_factory.mktemp("paging")) as workspace:
        workspace.write(lambda conn: fill(conn, 300))
        yield workspace


def newest_state(conn: sqlite3.Connection, pair: Pair) -> str:
    found = scores_of(conn, [pair.version.id], "j").get(pair.version.id, {}).get("j")
    if found is None:
        return "not scored"
    return "failed" if found.reason else "scored"


FILTERS: dict[PairFilter, Callable[[sqlite3.Connection, Pair], bool]] = {
    PairFilter(): lambda c, p: True,
    PairFilter(verdict="accepted"): lambda c, p: p.verdict == "accepted",
    PairFilter(verdict="not-rejected"): lambda c, p: p.verdict != "rejected",
    PairFilter(verdict="decided"): lambda c, p: p.verdict != "undecided",
    PairFilter(verdict="undecided", decided_by="human"): lambda c, p: False,
    PairFilter(decided_by="rule"): lambda c, p: p.verdict_by == "rule",
    PairFilter(topic_id=1): lambda c, p: p.topic_id in (1, 2),
    PairFilter(topic_id=3, verdict="rejected"): lambda c, p: p.topic_id == 3 and p.verdict == "rejected",
    PairFilter(origin="human"): lambda c, p: p.origin == "human",
    PairFilter(origin="imported"): lambda c, p: p.origin == "imported",
    PairFilter(import_id=1): lambda c, p: p.import_id == 1,
    PairFilter(run_id=1, verdict="accepted"): lambda c, p: p.run_id == 1 and p.verdict == "accepted",
    PairFilter(text="merge"): lambda c, p: "merge" in p.instruction,
    PairFilter(text="分支", topic_id=2): lambda c, p: "分支" in p.instruction and p.topic_id == 2,
    PairFilter(text="  !? "): lambda c, p: True,
    PairFilter(edited=True): lambda c, p: p.version.maker == "human" and p.version.number > 1,
    PairFilter(edited=False): lambda c, p: not (p.version.maker == "human" and p.version.number > 1),
    PairFilter(tag="good"): lambda c, p: "good" in _tags(c, p),
    PairFilter(tag="good", text="git"): lambda c, p: "good" in _tags(c, p) and "git" in p.instruction,
    PairFilter(tag="none"): lambda c, p: False,
    PairFilter(scored="scored", judge="j"): lambda c, p: newest_state(c, p) == "scored",
    PairFilter(scored="failed", judge="j"): lambda c, p: newest_state(c, p) == "failed",
    PairFilter(scored="not scored", judge="j"): lambda c, p: newest_state(c, p) == "not scored",
    PairFilter(scored="not scored", judge="nobody"): lambda c, p: True,
    PairFilter(ids=(5, 9, 300, 9999)): lambda c, p: p.id in (5, 9, 300),
    PairFilter(ids=(), text="git"): lambda c, p: False,
    PairFilter(ids=tuple(range(1, 99)), text="git", verdict="accepted"): lambda c, p: (
        p.id < 99 and "git" in p.instruction and p.verdict == "accepted"
    ),
}


def _tags(conn: sqlite3.Connection, pair: Pair) -> tuple[str, ...]:
    verdict = get_verdicts(conn, [pair.version.id]).get(pair.version.id)
    return verdict.tags if verdict else ()


@pytest.mark.parametrize("chosen", FILTERS, ids=lambda chosen: repr(chosen)[11:80])
def test_every_filter_finds_what_it_says_in_pages_and_snapshots(
    filled: Workspace, chosen: PairFilter
) -> None:
    conn = filled.connect()
    expected = [pair.id for pair in get_pairs(conn, range(400, 0, -1)) if FILTERS[chosen](conn, pair)]
    assert list(snapshot_ids(conn, chosen)) == expected
    assert list(snapshot_ids(conn, chosen, Order("oldest"))) == expected[::-1]
    assert list(snapshot_ids(conn, chosen, limit=7)) == expected[:7]
    assert list(snapshot_ids(conn, chosen, Order("oldest"), limit=7)) == expected[::-1][:7]
    assert count_pairs(conn, chosen) == len(expected)
    walked: list[int] = []
    while found := page_ids(conn, chosen, walked[-1] if walked else None, limit=17):
        walked += found
    assert walked == expected
    back: list[int] = []
    while found := page_ids(conn, chosen, back[0] if back else None, direction="newer", limit=17):
        back = found + back
    assert back == expected
    assert list(ids_after(conn, chosen, 100)) == [i for i in reversed(expected) if i > 100]
    conn.close()


def test_a_page_holds_whole_pairs(filled: Workspace) -> None:
    pairs = filled.read(lambda conn: page(conn, PairFilter(text="git"), limit=3))
    assert len(pairs) == 3
    assert all("git" in pair.instruction for pair in pairs)
    assert [a.id > b.id for a, b in pairwise(pairs)] == [True, True]


@pytest.mark.parametrize("ascending", [False, True])
def test_order_by_score_is_by_the_newest_score_and_unscored_last(filled: Workspace, ascending: bool) -> None:
    conn = filled.connect()

    def value(pair: Pair) -> float | None:
        judged = scores_of(conn, [pair.version.id]).get(pair.version.id, {}).get("j")
        return None if judged is None else judged.scores.get("helpfulness")

    pairs = [pair for pair in get_pairs(conn, range(400, 0, -1)) if not pair.removed]
    scored = sorted((p for p in pairs if value(p) is not None), key=lambda p: (value(p), p.id), reverse=True)
    if ascending:
        scored.sort(key=lambda p: value(p))  # type: ignore[arg-type,return-value]
    expected = [p.id for p in scored] + [p.id for p in pairs if value(p) is None]
    order = Order("score", "j", "helpfulness", ascending=ascending)
    assert list(snapshot_ids(conn, order=order)) == expected
    assert list(snapshot_ids(conn, order=order, limit=5)) == expected[:5]
    conn.close()


def test_least_certain_first_is_by_distance_to_the_line(filled: Workspace) -> None:
    conn = filled.connect()

    def distance(pair: Pair) -> float | None:
        judged = scores_of(conn, [pair.version.id]).get(pair.version.id, {}).get("j")
        if judged is None or judged.reason:
            return None
        return abs(min(judged.scores["helpfulness"] - 2.5, 2 - judged.scores["verbosity"]))

    pairs = [pair for pair in get_pairs(conn, range(400, 0, -1)) if not pair.removed]
    scored = sorted((p for p in pairs if distance(p) is not None), key=lambda p: (distance(p), -p.id))
    expected = [p.id for p in scored] + [p.id for p in pairs if distance(p) is None]
    order = Order("least certain", "j", thresholds=THRESHOLDS)
    assert list(snapshot_ids(conn, order=order)) == expected
    assert list(snapshot_ids(conn, order=Order("least certain", "j"))) == [p.id for p in pairs]
    conn.close()


def test_statistics_add_up(filled: Workspace) -> None:
    stats = filled.read(read_stats)
    assert stats.pairs == 305 == sum(stats.verdicts.values()) == sum(stats.origins.values())
    assert stats.verdicts == filled.read(count_verdicts)
    assert sum(topic.pairs for topic in stats.topics) == 305
    assert sum(stats.decided_by.values()) == stats.verdicts["accepted"] + stats.verdicts["rejected"]
    by_judge = {judge.judge: judge for judge in stats.judges}
    for state in ("scored", "failed", "not scored"):
        chosen = PairFilter(scored=state, judge="j")  # type: ignore[arg-type]
        assert getattr(by_judge["j"], state.replace(" ", "_")) == filled.read(
            lambda c, f=chosen: count_pairs(c, f)
        )  # type: ignore[misc]
    assert stats.edited == filled.read(lambda conn: count_pairs(conn, PairFilter(edited=True)))
    assert stats.runs == {"generate": {"running": 1}}
    assert filled.read(all_tags) == ["good"]
    assert filled.read(judges) == ["other/judge", "j"]
    assert filled.read(lambda conn: attributes(conn, "j")) == ["helpfulness", "verbosity"]


FLAT = [
    PairFilter(),
    PairFilter(verdict="undecided"),
    PairFilter(verdict="not-rejected"),
    PairFilter(topic_id=1),
    PairFilter(topic_id=1, verdict="undecided"),
    PairFilter(text="common"),
    PairFilter(import_id=1),
]


def steps(conn: sqlite3.Connection, work: Callable[[], object]) -> int:
    """How many hundreds of instructions SQLite's machine runs for this."""
    count = 0

    def handler() -> int:
        nonlocal count
        count += 1
        return 0

    conn.set_progress_handler(handler, 100)
    work()
    conn.set_progress_handler(None, 0)
    return count


def page_costs(workspace: Workspace, chosen: PairFilter, count: int) -> list[int]:
    """Both directions from the end, the newest, the middle and an old pair."""
    conn = workspace.connect()
    # The index of words also holds what was undone: it is walked only from live pairs towards older ones.
    found = [
        steps(conn, lambda c=cursor, d=direction: page(conn, chosen, c, direction=d))  # type: ignore[misc]
        for cursor in (None, count, count // 2, 60)
        for direction in ("older", "newer")
        if not chosen.text or (cursor is not None and direction == "older")
    ]
    conn.close()
    return found


def test_pages_cost_the_same_at_every_depth_and_size(tmp_path: Path) -> None:
    costs: dict[PairFilter, list[int]] = {chosen: [] for chosen in FLAT}
    for count in (400, 8000):
        with new_workspace(tmp_path, f"{count}") as workspace:
            for name in ("common", "common undone"):
                rows = [ImportRow(f"{name} {n}", "x", topic=("a", "bc"[n % 2])) for n in range(count)]
                workspace.write(lambda conn, r=rows: import_pairs(conn, r, BatchInfo("f", "x")))  # type: ignore[misc]
            # What was undone lies at the end, where the newest page looks first.
            workspace.write(journal.undo)
            for chosen in FLAT:
                costs[chosen] += page_costs(workspace, chosen, count)
    for chosen, found in costs.items():
        assert max(found) <= 80, (chosen, found)


@pytest.mark.parametrize("chosen", FLAT, ids=lambda chosen: repr(chosen)[11:60])
def test_no_page_scans_the_pairs(filled: Workspace, chosen: PairFilter) -> None:
    conn = filled.connect()
    compiled = compile_filter(conn, chosen)
    for older in (True, False):
        sql = "EXPLAIN QUERY PLAN " + compiled.walk(older=older, cursor=True)
        plan = [row[3] for row in conn.execute(sql, {**compiled.parameters, "cursor": 50, "limit": 50})]
        assert not [step for step in plan if step.startswith("SCAN") and ("pair " in step + " " or "own" in step)
                    and "pair_fts" not in step], plan  # fmt: skip
    conn.close()


def test_a_snapshot_is_an_array_of_numbers_and_holds_while_pairs_change(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: fill(conn, 40))
        chosen = PairFilter(verdict="undecided")
        ids = workspace.read(lambda conn: snapshot_ids(conn, chosen))
        assert (ids.typecode, ids.itemsize) == ("q", 8)
        workspace.write(lambda conn: decide(conn, [ids[0]], "accepted"))
        assert workspace.read(lambda conn: snapshot_ids(conn, chosen)) == ids[1:]
