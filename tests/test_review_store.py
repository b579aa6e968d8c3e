"""What the reviewer asks of the store: bounded rows, bulk actions counted before they are done, near pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.pairs.near_pairs import NearPairs
from pairsmith.pairs.store.bulk import count_bulk, decide_bulk
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.journal import undo
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.review_rows import MOST_CHARACTERS, review_rows, topic_paths
from pairsmith.pairs.store.topics import add_topic
from pairsmith.pairs.store.verdicts import VerdictName, decide, get_verdict

from .screens import GIT, git_workspace, verdicts
from .stores import new_workspace


def test_rows_are_bounded_and_in_the_order_asked_for(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        for number in range(3):
            workspace.write(
                lambda conn, n=number: add_pair(conn, NewPair(f"{n} " + "i" * 50_000, "o" * 50_000))
            )
        rows = workspace.read(lambda conn: review_rows(conn, [3, 1, 99, 2]))
        assert [row.id for row in rows] == [3, 1, 2]
        assert len(rows[0].instruction) == len(rows[0].output) == MOST_CHARACTERS


def test_rows_carry_scores_verdict_and_whether_a_human_edited(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: decide(conn, [1], "rejected", reason="short", tags=["t"]))
        workspace.write(lambda conn: edit_pair(conn, 2, output="other"))
        one, two = workspace.read(lambda conn: review_rows(conn, [1, 2]))
        assert one.decision is not None
        assert (one.decision.reason, one.decision.tags, one.edited) == ("short", ("t",), False)
        assert one.judged["nim:nvidia/nemotron-4"].scores == {"helpfulness": 1.0, "verbosity": 0.0}
        assert (two.edited, two.versions, two.judged, two.verdict) == (True, 2, {}, "undecided")


def test_topic_paths_run_from_the_root(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        top = workspace.write(lambda conn: add_topic(conn, "Branching"))
        below = workspace.write(lambda conn: add_topic(conn, "beginner", parent_id=top))
        assert workspace.read(topic_paths)[below] == ("Branching", "beginner")


@pytest.mark.parametrize("verdict", ["accepted", "rejected", "undecided"])
@pytest.mark.parametrize("human", [True, False])
@pytest.mark.parametrize("chosen", [None, "undecided", "decided", "not-rejected", "accepted"])
def test_a_bulk_action_changes_what_it_counted(
    tmp_path: Path, verdict: VerdictName, human: bool, chosen: str | None
) -> None:
    members = {
        None: {*range(1, 13)}, "undecided": {*range(6, 13)}, "decided": {*range(1, 6)},
        "not-rejected": {1, 2, *range(6, 13)}, "accepted": {1, 2},
    }[chosen]  # fmt: skip
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: decide(conn, [1, 2], "accepted", note="mine"))
        workspace.write(lambda conn: decide(conn, [3], "rejected"))
        workspace.write(lambda conn: decide(conn, [4, 5], "rejected", by="rule", rule="x"))
        before = verdicts(workspace)
        which = PairFilter(verdict=chosen)  # type: ignore[arg-type]
        counted = workspace.read(lambda conn: count_bulk(conn, which, verdict, human=human))
        done = workspace.write(lambda conn: decide_bulk(conn, which, verdict, human=human))
        assert done.changed == counted
        after = verdicts(workspace)
        changed = {n for n in before if after[n] != before[n]}
        assert changed == {n for n in members if before[n] != verdict and (human or n > 3)}
        version = workspace.read(lambda conn: get_pair(conn, 1)).version.id
        words = workspace.read(lambda conn: get_verdict(conn, version))
        if verdict == "accepted":
            assert words is not None
            assert words.note == "mine"
        if counted:
            workspace.write(undo)
        assert verdicts(workspace) == before


def test_near_pairs_find_the_twin_and_follow_edits(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        near = NearPairs(workspace)
        assert near.nearest(1, GIT[0][0]) == []
        near.build()
        assert near.count == len(GIT)
        assert near.nearest(1, GIT[0][0])[0].pair_id == 2
        near.update(2, "something else altogether")
        assert [one.pair_id for one in near.nearest(1, GIT[0][0], at_least=0.6)] == []


def test_building_the_index_can_be_called_off(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        near = NearPairs(workspace)
        near.build(lambda: True)
        assert not near.built
