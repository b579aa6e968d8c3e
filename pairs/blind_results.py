"""What people's blind ratings come to: by rater and together, with 95 % intervals, ties and skips counted.

Two raters of one answer are not two answers: together, an answer counts once, with the mean of what its raters said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .blind import Contestant, answer_key, contestants, texts_of
from .errors import PairsmithError
from .evaluation_report import write_report
from .evaluation_statistics import intervals
from .store.driver import sqlite3
from .store.ratings import Rating, ratings_of
from .store.runs import get_run, list_runs, set_result
from .store.workspace import Workspace
from .training_runs import run_folder_of

Result = dict[str, Any]
Asked = dict[str, tuple[Sequence[float], Sequence[float] | None]]


@dataclass(frozen=True, slots=True)
class _Compared:
    """Ratings of two contestants' answers: each with its value as the first contestant sees it."""

    subject: str
    against: str
    items: int
    same: int
    ratings: Sequence[tuple[Rating, float | None]]


@dataclass(frozen=True, slots=True)
class _Graded:
    name: str
    items: int
    ratings: Sequence[Rating]


async def human_ratings(workspace: Workspace, train_run: int) -> Result:
    """`compare` and `scale` of a training run's answers; empty where nobody rated any of them."""
    compared, graded = await workspace.aread(
        lambda conn: (_comparisons(conn, train_run), _gradings(conn, train_run))
    )
    asked: Asked = {}
    for number, one in enumerate(compared):
        for rater, values in _by_rater(_compared_values(one)).items():
            asked[f"compare {number} {rater}"] = (values, [1.0 - value for value in values])
    for number, each in enumerate(graded):
        for rater, values in _by_rater(_graded_values(each)).items():
            asked[f"scale {number} {rater}"] = (values, None)
    pairings = [(0, number) for number in range(1, len(graded))] if graded else []
    for first, second in pairings:
        ours, theirs = (_means(_graded_values(graded[at])) for at in (first, second))
        both = sorted(ours.keys() & theirs.keys())
        if len(both) >= 2:
            asked[f"paired {second}"] = ([ours[pair] for pair in both], [theirs[pair] for pair in both])
    if not compared and not graded:
        return {}
    found = await intervals(asked)
    result: Result = {
        "compare": [_compare_result(one, number, found) for number, one in enumerate(compared)],
        "scale": [_scale_result(one, number, found) for number, one in enumerate(graded)],
        "paired": [
            {
                "subject": graded[first].name,
                "against": graded[second].name,
                "difference": found[f"paired {second}"]["paired"]["difference"],
                "p": found[f"paired {second}"]["paired"]["p"],
            }
            for first, second in pairings
            if f"paired {second}" in found
        ],
    }
    return {name: rows for name, rows in result.items() if rows}


async def update_report(workspace: Workspace, home: Path, train_run: int) -> Result:
    """Store the ratings with the newest evaluation of a run and write its report anew; what they come to.

    A folder that is not on this machine gets no report. Raises PairsmithError.
    """
    human = await human_ratings(workspace, train_run)

    def store(conn: sqlite3.Connection) -> Result | None:
        newest = next(
            (run for run in list_runs(conn, "evaluate") if (run.result or {}).get("train_run") == train_run),
            None,
        )
        if newest is None or newest.state == "running" or newest.result is None:
            return None
        result = {**newest.result, "human": human}
        set_result(conn, newest.id, result)
        return result

    result = await workspace.awrite(store)
    if result is not None:
        run = await workspace.aread(lambda conn: get_run(conn, train_run))
        try:
            folder = run_folder_of(home, workspace, run)
        except PairsmithError:
            return human
        await write_report(folder, result)
    return human


# ---- what was said ------------------------------------------------------------------------------------------


def _comparisons(conn: sqlite3.Connection, train_run: int) -> list[_Compared]:
    everybody = contestants(conn, train_run)
    found = []
    for other in everybody[1:]:
        keys = [_keys(conn, one) for one in (everybody[0], other)]
        shared = sorted(keys[0].keys() & keys[1].keys())
        ratings = [
            (rating, value)
            for rating in ratings_of(conn, "compare", shared)
            for value in _oriented(rating, keys[0][rating.pair_id], keys[1][rating.pair_id])
        ]
        same = sum(keys[0][pair] == keys[1][pair] for pair in shared)
        if ratings:
            found.append(_Compared(everybody[0].name, other.name, len(shared), same, ratings))
    return found


def _oriented(rating: Rating, first: bytes, second: bytes) -> list[float | None]:
    """The value as the first text sees it; nothing where other texts were rated."""
    if (rating.answer, rating.other) == (first, second):
        return [rating.value]
    if (rating.answer, rating.other) == (second, first):
        return [None if rating.value is None else 1.0 - rating.value]
    return []


def _gradings(conn: sqlite3.Connection, train_run: int) -> list[_Graded]:
    found = []
    for one in contestants(conn, train_run):
        keys = _keys(conn, one)
        ratings = [
            rating
            for rating in ratings_of(conn, "scale", sorted(keys))
            if rating.answer == keys[rating.pair_id]
        ]
        if ratings:
            found.append(_Graded(one.name, len(keys), ratings))
    return found


def _keys(conn: sqlite3.Connection, one: Contestant) -> dict[int, bytes]:
    return {pair: answer_key(text) for pair, text in texts_of(conn, one).items()}


# ---- what it comes to ---------------------------------------------------------------------------------------

Values = Sequence[tuple[str, int, float]]
"""Rater, pair and value of everything that was not skipped."""


def _compared_values(one: _Compared) -> Values:
    return [(rating.rater, rating.pair_id, value) for rating, value in one.ratings if value is not None]


def _graded_values(one: _Graded) -> Values:
    return [
        (rating.rater, rating.pair_id, rating.value) for rating in one.ratings if rating.value is not None
    ]


def _means(values: Values) -> dict[int, float]:
    by_pair: dict[int, list[float]] = {}
    for _, pair, value in values:
        by_pair.setdefault(pair, []).append(value)
    return {pair: sum(found) / len(found) for pair, found in by_pair.items()}


def _by_rater(values: Values) -> dict[str, list[float]]:
    """Values by rater, and under "" those of all together. A rater's name is never empty."""
    found: dict[str, list[float]] = {"": list(_means(values).values())}
    for rater, _, value in values:
        found.setdefault(rater, []).append(value)
    return found


def _compare_result(one: _Compared, number: int, found: Mapping[str, Any]) -> Result:
    def summary(rater: str) -> Result:
        mine = [(r, value) for r, value in one.ratings if not rater or r.rater == rater]
        values = [value for _, value in mine if value is not None]
        interval = found.get(f"compare {number} {rater}")
        decided = [(r, value) for r, value in mine if value in (0.0, 1.0)]
        return {
            "wins": values.count(1.0),
            "ties": values.count(0.5),
            "losses": values.count(0.0),
            "skipped": len(mine) - len(values),
            "left": sum(r.first == (r.value == 1.0) for r, _ in decided),
            "win_rate": _interval(interval),
            "p": interval["paired"]["p"] if interval and values else None,
        }

    names = sorted({rating.rater for rating, _ in one.ratings})
    return {
        "subject": one.subject,
        "against": one.against,
        "items": one.items,
        "same": one.same,
        "together": summary(""),
        "raters": {name: summary(name) for name in names},
    }


def _scale_result(one: _Graded, number: int, found: Mapping[str, Any]) -> Result:
    def summary(rater: str) -> Result:
        mine = [r for r in one.ratings if not rater or r.rater == rater]
        skipped = sum(r.value is None for r in mine)
        return {"skipped": skipped, **_interval(found.get(f"scale {number} {rater}"))}

    names = sorted({rating.rater for rating in one.ratings})
    return {
        "subject": one.name,
        "items": one.items,
        "together": summary(""),
        "raters": {name: summary(name) for name in names},
    }


def _interval(found: Mapping[str, Any] | None) -> Result:
    """Mean, low, high and n; a rater who skipped everything has none."""
    if found is None:
        return {"mean": None, "low": None, "high": None, "n": 0}
    return {name: found["a"][name] for name in ("mean", "low", "high", "n")}
