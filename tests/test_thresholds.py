"""Thresholds: what a line keeps, whom it agrees with, which line reaches a wanted precision; against brute force."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.filtering import filter_pairs
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.paging import Threshold
from pairsmith.pairs.store.pair_rows import get_pair
from pairsmith.pairs.store.score_columns import Scored, read_scored
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.thresholds import (
    histogram,
    keep_thresholds,
    kept_thresholds,
    suggest,
    weigh,
    where_of,
    wilson,
)

from .screens import git_workspace
from .stores import new_workspace

JUDGE = "nim:nvidia/nemotron-4"
LINES = (Threshold("helpfulness", ">=", 3.0), Threshold("verbosity", "<=", 1.0))


def columns(rows: list[tuple[int, float | None]]) -> Scored:
    values = array("d", [math.nan if score is None else score for _, score in rows])
    human = array("b", [mark for mark, _ in rows])
    undecided = array("b", [not mark for mark, _ in rows])
    return Scored("j", array("q", range(1, len(rows) + 1)), human, undecided, {"s": values})


def test_a_line_says_the_same_as_the_filter_that_it_becomes(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: decide(conn, [1, 2, 3], "accepted"))
        workspace.write(lambda conn: decide(conn, [4, 5], "rejected"))
        found = weigh(workspace.read(lambda conn: read_scored(conn, JUDGE)), LINES)
        report = filter_pairs(workspace, where_of(LINES), judge=JUDGE, preview=True)
        assert (found.keeps, found.falls, found.unscored) == (
            report.keeps,
            report.falls_below,
            report.not_scored,
        )
        assert found.rejects == report.rejects
        assert (found.agrees, found.keeps_rejected, found.drops_accepted) == (
            report.agrees,
            report.keeps_rejected,
            report.drops_accepted,
        )


def test_a_line_at_a_score_of_many_digits_rejects_what_its_preview_counts(tmp_path: Path) -> None:
    with git_workspace(tmp_path, judge=None) as workspace:
        for pair_id, value in ((1, 2.9734561), (2, 1.5), (3, 1234567.25)):
            version = workspace.read(lambda conn, pair_id=pair_id: get_pair(conn, pair_id).version.id)
            word = Judgement(JUDGE, "reward", scores={"helpfulness": Score(value)})
            workspace.write(lambda conn, version=version, word=word: add_judgement(conn, version, word))
        scored = workspace.read(lambda conn: read_scored(conn, JUDGE))
        for value in (2.9734561, 1234567.25, 3.0):
            line = [Threshold("helpfulness", ">=", value)]
            report = filter_pairs(workspace, where_of(line), judge=JUDGE, preview=True)
            assert weigh(scored, line).rejects == report.rejects


def test_a_missing_score_is_never_rejected() -> None:
    found = weigh(columns([(0, None), (0, 1.0), (0, 5.0)]), [Threshold("s", ">=", 3.0)])
    assert (found.keeps, found.falls, found.unscored, found.rejects) == (1, 1, 1, 1)


def test_names_that_are_no_identifiers_are_quoted() -> None:
    text = where_of([Threshold("my `odd` name", ">=", 2.5)])
    parse_expression(text)
    assert "`my ``odd`` name` >= 2.5" in text


@given(
    st.lists(
        st.tuples(st.sampled_from([-1, 1]), st.floats(0, 5, allow_nan=False).map(lambda v: round(v, 1))),
        max_size=40,
    ),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_the_suggested_line_keeps_most_and_reaches_the_precision(
    rows: list[tuple[int, float]], wanted: float
) -> None:
    found = suggest(columns([(mark, score) for mark, score in rows]), "s", ">=", wanted)
    possible = []
    for value in {score for _, score in rows}:
        kept = [mark for mark, score in rows if score >= value]
        if len(kept) >= 5 and kept.count(1) / len(kept) >= wanted:
            possible.append(len(kept))
    assert (found is None) == (not possible)
    if found is not None:
        assert found.kept == max(possible)
        assert found.precision >= wanted
        assert 0 <= found.lower <= found.precision


def test_wilson_is_the_textbook_interval() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.lists(st.floats(-1, 6, allow_nan=False)))
def test_every_value_is_in_one_bucket(values: list[float]) -> None:
    assert sum(histogram(values, 0.0, 0.5, 9)) == len(values)


def test_the_kept_line_comes_back_and_damage_is_no_line(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        assert workspace.read(kept_thresholds) == ("", ())
        workspace.write(lambda conn: keep_thresholds(conn, JUDGE, LINES))
        assert workspace.read(kept_thresholds) == (JUDGE, LINES)
        workspace.write(lambda conn: conn.execute("UPDATE meta SET value = '[3' WHERE key = 'thresholds'"))
        assert workspace.read(kept_thresholds) == ("", ())
