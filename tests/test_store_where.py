"""Expressions over stored pairs: the newest score of the named judge, unknown where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.backends.protocol import Message, Request
from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.store.calls import begin_call
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.topics import add_topic
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.where import evaluate_where, matching_ids
from pairsmith.pairs.store.workspace import Workspace
from tests.stores import new_workspace


def judge(conn: sqlite3.Connection, pair_id: int, judge_name: str, **scores: float) -> None:
    version = get_pair(conn, pair_id).version.id
    values = {name: Score(value) for name, value in scores.items()}
    judgement = (
        Judgement(judge_name, "reward", scores=values)
        if scores
        else Judgement(judge_name, "reward", reason="x")
    )
    add_judgement(conn, version, judgement)


def fill(conn: sqlite3.Connection) -> None:
    topic = add_topic(conn, "Branches")
    request = Request(messages=(Message("user", "x"),))
    for backend in ("ollama", "nim"):
        call = begin_call(
            conn, run_id=None, purpose="x", subject="", backend=backend, model="m", request=request
        )
    for n in range(1, 9):
        add_pair(
            conn, NewPair(f"q{n}", "a", topic_id=topic if n % 2 else None, call_id=call if n == 8 else 1)
        )
    judge(conn, 1, "nim:nvidia/x", helpfulness=4.156, verbosity=1)
    judge(conn, 2, "nim:nvidia/x", helpfulness=4, verbosity=3)
    judge(conn, 3, "nim:nvidia/x", helpfulness=1, verbosity=1)
    judge(conn, 3, "nim:nvidia/x", helpfulness=3, verbosity=1)  # the newest counts
    judge(conn, 4, "nim:nvidia/x", helpfulness=4, verbosity=1)
    judge(conn, 4, "nim:nvidia/x")  # and a newest that failed is no score
    judge(conn, 5, "ollama:y", helpfulness=4)
    judge(conn, 6, "nim:nvidia/x", helpfulness=4, verbosity=1)
    edit_pair(conn, 6, output="edited")  # earlier scores are the old version's
    judge(conn, 7, "nim:nvidia/x", helpfulness=0)
    decide(conn, [3, 5], "accepted")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = new_workspace(tmp_path)
    found.write(fill)
    return found


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("helpfulness >= 3 and verbosity <= 2.5", [1, 3], [2, 7]),
        ("helpfulness >= 3", [1, 2, 3], [7]),
        ("ollama:y/helpfulness >= 3", [5], []),
        ("origin == 'generated' and backend == 'nim'", [8], [1, 2, 3, 4, 5, 7]),
        ("verdict == 'accepted'", [3, 5], [1, 2, 4, 6, 7, 8]),
        ("topic == 'Branches' and verdict != 'accepted'", [1, 7], None),
    ],
)
def test_expressions_are_true_false_or_unknown(
    workspace: Workspace, text: str, true: list[int], false: list[int] | None
) -> None:
    expression = parse_expression(text)
    found = dict(workspace.read(lambda conn: list(evaluate_where(conn, expression, judge="nim:nvidia/x"))))
    assert sorted(found) == list(range(1, 9))
    assert [pair_id for pair_id, said in found.items() if said is True] == true
    if false is not None:
        assert [pair_id for pair_id, said in found.items() if said is False] == false
    workspace.close()


def test_without_a_named_judge_the_one_who_judged_last_counts(workspace: Workspace) -> None:
    expression = parse_expression("helpfulness >= 4")
    assert workspace.read(lambda conn: matching_ids(conn, expression, judge=None)) == [1, 2, 5]
    chosen = PairFilter(verdict="undecided")
    assert workspace.read(lambda conn: matching_ids(conn, expression, judge=None, chosen=chosen)) == [1, 2]
    assert workspace.read(lambda conn: matching_ids(conn, expression, judge=None, value=False)) == [3, 7]
    workspace.close()
