"""Blind ratings in the store: places and order are drawn from the texts alone, nothing is lost, what it comes to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairsmith.pairs.blind import (
    BlindItem,
    Choice,
    Sheet,
    answer_key,
    compared,
    contestants,
    graded,
    read_sheet,
)
from pairsmith.pairs.blind_results import human_ratings
from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.evaluation_report import markdown
from pairsmith.pairs.store import migrations
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.journal import history, redo, undo
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.ratings import (
    RatingKind,
    add_rating,
    rater_name,
    raters,
    ratings_of,
    redo_rating,
    undo_rating,
)
from pairsmith.pairs.store.schema import MIGRATION_1
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace, open_workspace

from .answered import answered_workspace, bad, evaluated, good
from .stores import python


def sheet_of(
    workspace: Workspace, kind: RatingKind = "compare", rater: str = "Ada", names: tuple[int, ...] = (0, 1)
) -> Sheet:
    def read(conn: sqlite3.Connection) -> Sheet:
        everybody = contestants(conn, 1)
        return read_sheet(conn, kind, [everybody[at] for at in names], rater, workspace.id)

    return workspace.read(read)


def compare(workspace: Workspace, choose: Callable[[BlindItem], Choice], rater: str = "Ada") -> Sheet:
    """Rate everything that is open."""
    sheet = sheet_of(workspace, rater=rater)
    while (item := sheet.here) is not None:
        rating = compared(sheet, item, choose(item))
        workspace.write(lambda conn, rating=rating: add_rating(conn, rating))  # type: ignore[misc]
        sheet = sheet.with_rating(item, rating.value)
    return sheet


def prefer(name: str) -> Callable[[BlindItem], Choice]:
    """Somebody who sees through it."""
    return lambda item: "left" if item.answers[0].name == name else "right"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return answered_workspace(tmp_path, {"tuned": good, "base": bad}, 40)


def test_who_can_be_compared_is_the_run_first_then_its_base_then_others(workspace: Workspace) -> None:
    workspace.write(lambda conn: evaluated(conn, {"tuned": bad, "base": bad, "run 1": good}, 40))
    first = workspace.read(lambda conn: [one.name for one in contestants(conn, 1)])
    second = workspace.read(lambda conn: [one.name for one in contestants(conn, 3)])
    assert first == ["run 1", "base of run 1", "run 3"]
    assert second == ["run 3", "base of run 3", "run 1"]
    assert workspace.read(lambda conn: contestants(conn, 99)) == []


def test_every_pair_is_asked_once_in_an_order_of_the_raters_own(workspace: Workspace) -> None:
    ada, ben = (sheet_of(workspace, rater=name) for name in ("Ada", "Ben"))
    assert sorted(item.pair_id for item in ada.items) == list(range(1, 41))
    assert [item.pair_id for item in ada.items] != [item.pair_id for item in ben.items]
    assert sheet_of(workspace).items == ada.items
    left = sum(item.answers[0].name == "run 1" for item in ada.items)
    assert 8 <= left <= 32


def test_places_and_order_do_not_depend_on_whose_answers_they_are(tmp_path: Path) -> None:
    shown = []
    for name, subjects in (("a", {"tuned": good, "base": bad}), ("b", {"tuned": bad, "base": good})):
        (tmp_path / name).mkdir()
        with answered_workspace(tmp_path / name, subjects) as workspace:
            for kind in ("compare", "scale"):
                sheet = workspace.read(
                    lambda conn, kind=kind: read_sheet(conn, kind, contestants(conn, 1)[:2], "Ada", "seed")  # type: ignore[misc]
                )
                shown.append(
                    [(item.pair_id, [answer.text for answer in item.answers]) for item in sheet.items]
                )
    assert shown[0] == shown[2]
    assert shown[1] == shown[3]


def test_answers_that_are_alike_are_counted_and_not_asked(tmp_path: Path) -> None:
    said = {"tuned": good, "base": lambda n: good(n) if n <= 4 else bad(n)}
    with answered_workspace(tmp_path, said) as workspace:
        sheet = sheet_of(workspace)
        assert (len(sheet.items), sheet.same) == (8, 4)
        assert len(sheet_of(workspace, "scale").items) == 8 + 12
    (tmp_path / "b").mkdir()
    with (
        answered_workspace(tmp_path / "b", {"tuned": good, "base": good}) as workspace,
        pytest.raises(UsageError, match="both answered every test pair alike"),
    ):
        sheet_of(workspace)


async def test_wins_ties_losses_and_skips_come_out_as_they_went_in(workspace: Workspace) -> None:
    count = iter(range(40))

    def choose(item: BlindItem) -> Choice:
        number = next(count)
        if number < 5:
            return "skip"
        if number < 15:
            return "tie"
        return prefer("run 1" if number < 35 else "base of run 1")(item)

    sheet = compare(workspace, choose)
    assert (sheet.done, sheet.ties, sheet.skipped, sheet.here) == (40, 10, 5, None)
    (found,) = (await human_ratings(workspace, 1))["compare"]
    assert (found["subject"], found["against"], found["items"], found["same"]) == (
        "run 1", "base of run 1", 40, 0,
    )  # fmt: skip
    ada = found["raters"]["Ada"]
    assert (ada["wins"], ada["ties"], ada["losses"], ada["skipped"]) == (20, 10, 5, 5)
    rate = ada["win_rate"]
    assert rate["n"] == 35
    assert rate["mean"] == pytest.approx(25 / 35)
    assert rate["low"] < rate["mean"] < rate["high"]
    assert ada["p"] < 0.05
    assert 0 < ada["left"] < 25
    assert found["together"]["win_rate"] == rate
    text = markdown({"human": await human_ratings(workspace, 1)})
    assert "| Ada | 20 | 10 | 5 | 5 | 0.7143 |" in text


async def test_without_ties_the_interval_is_wilsons(workspace: Workspace) -> None:
    compare(workspace, prefer("run 1"))
    (found,) = (await human_ratings(workspace, 1))["compare"]
    rate = found["raters"]["Ada"]["win_rate"]
    assert (rate["mean"], rate["high"]) == (1.0, 1.0)
    assert rate["low"] == pytest.approx(40 / (40 + 1.959964**2), abs=1e-6)


async def test_two_raters_of_one_answer_are_not_two_answers(workspace: Workspace) -> None:
    compare(workspace, prefer("run 1"), "Ada")
    compare(workspace, prefer("base of run 1"), "Ben")
    assert workspace.read(raters) == ["Ada", "Ben"]
    (found,) = (await human_ratings(workspace, 1))["compare"]
    assert (found["raters"]["Ada"]["wins"], found["raters"]["Ben"]["losses"]) == (40, 40)
    together = found["together"]
    assert (together["win_rate"]["n"], together["win_rate"]["mean"]) == (40, 0.5)


async def test_grades_have_a_mean_with_interval_and_a_paired_difference(workspace: Workspace) -> None:
    sheet = sheet_of(workspace, "scale")
    assert len(sheet.items) == 80
    while (item := sheet.here) is not None:
        is_good = item.answers[0].name == "run 1"
        grade = None if item.pair_id == 1 else (4 if item.pair_id % 2 else 5) if is_good else 2
        rating = graded(sheet, item, grade)
        workspace.write(lambda conn, rating=rating: add_rating(conn, rating))  # type: ignore[misc]
        sheet = sheet.with_rating(item, rating.value)
    human = await human_ratings(workspace, 1)
    tuned, base = human["scale"]
    assert (tuned["together"]["n"], tuned["together"]["skipped"]) == (39, 1)
    assert tuned["together"]["mean"] == pytest.approx((20 * 5 + 19 * 4) / 39)
    assert tuned["together"]["low"] < tuned["together"]["mean"] < tuned["together"]["high"]
    assert base["together"]["mean"] == 2.0
    (paired,) = human["paired"]
    assert paired["difference"]["n"] == 39
    assert paired["p"] < 0.001
    with pytest.raises(UsageError, match="1, 2, 3, 4 or 5"):
        graded(sheet, sheet.items[0], 6)


async def test_ratings_count_for_another_evaluation_of_the_same_answers_and_for_no_others(
    workspace: Workspace,
) -> None:
    compare(workspace, prefer("run 1"))
    workspace.write(lambda conn: evaluated(conn, {"tuned": bad, "base": good}, 40))
    (found, _) = (await human_ratings(workspace, 3))["compare"]
    assert (found["subject"], found["against"]) == ("run 3", "base of run 3")
    assert found["raters"]["Ada"]["losses"] == 40
    workspace.write(lambda conn: evaluated(conn, {"tuned": lambda n: f"new {n}", "base": bad}, 40))
    assert await human_ratings(workspace, 5) == {}


def test_a_rating_is_undone_and_redone_like_everything_else(workspace: Workspace) -> None:
    sheet = compare(workspace, lambda item: "left")
    workspace.write(undo)
    last = sheet.items[-1]
    assert sheet_of(workspace).here == last
    workspace.write(redo)
    assert sheet_of(workspace).here is None
    for _ in range(40):
        workspace.write(lambda conn: undo_rating(conn, "Ada", "compare"))
    assert sheet_of(workspace).here == sheet.items[0]
    assert workspace.read(lambda conn: ratings_of(conn, "compare", range(1, 41))) == []
    assert workspace.write(lambda conn: undo_rating(conn, "Ada", "compare")) is None
    for _ in range(40):
        assert workspace.write(lambda conn: redo_rating(conn, "Ada", "compare")) is not None
    assert sheet_of(workspace).rated == sheet.rated


def test_undo_here_leaves_other_peoples_acts_alone(workspace: Workspace) -> None:
    compare(workspace, lambda item: "tie")
    assert workspace.write(lambda conn: undo_rating(conn, "Ben", "compare")) is None
    assert workspace.write(lambda conn: undo_rating(conn, "Ada", "scale")) is None
    workspace.write(lambda conn: decide(conn, [1], "accepted"))
    assert workspace.write(lambda conn: undo_rating(conn, "Ada", "compare")) is None
    assert sheet_of(workspace).here is None


def test_the_journal_does_not_say_what_was_preferred(workspace: Workspace) -> None:
    compare(workspace, prefer("run 1"))
    labels = {entry.label for entry in workspace.read(history)}
    assert labels == {f"rated answers to pair {n}" for n in range(1, 41)}


def test_the_same_question_is_answered_once(workspace: Workspace) -> None:
    sheet = sheet_of(workspace)
    first = compared(sheet, sheet.items[0], "left")
    assert workspace.write(lambda conn: add_rating(conn, first)) is not None
    assert workspace.write(lambda conn: add_rating(conn, compared(sheet, sheet.items[0], "right"))) is None
    assert sheet_of(workspace).done == 1


KILLED = """
import sys
from pathlib import Path
from pairsmith.pairs.blind import compared, contestants, read_sheet
from pairsmith.pairs.store.ratings import add_rating
from pairsmith.pairs.store.workspace import open_workspace
workspace = open_workspace(Path(sys.argv[1]))
sheet = workspace.read(lambda conn: read_sheet(conn, "compare", contestants(conn, 1)[:2], "Ada", workspace.id))
while (item := sheet.here) is not None:
    rating = compared(sheet, item, "left")
    workspace.write(lambda conn: add_rating(conn, rating))
    sheet = sheet.with_rating(item, rating.value)
    print(item.pair_id, flush=True)
    if sheet.done == 30:
        sys.stdin.read()
"""


def test_a_kill_loses_no_rating_and_the_next_start_asks_the_same_question(workspace: Workspace) -> None:
    order = [item.pair_id for item in sheet_of(workspace).items]
    path = workspace.path
    workspace.close()
    child = python(KILLED, path)
    assert child.stdout is not None
    saved = [int(child.stdout.readline()) for _ in range(7)]
    os.kill(child.pid, signal.SIGKILL)
    # Not communicate(): what readline() has already taken in besides its line would be missed.
    saved += [int(line) for line in child.stdout.read().splitlines()]
    child.wait()
    assert saved == order[: len(saved)]
    with open_workspace(path) as again:
        sheet = sheet_of(again)
        assert sheet.done in (len(saved), len(saved) + 1)
        assert sheet.here is not None
        assert sheet.here.pair_id == order[sheet.done]


def test_a_workspace_of_before_gets_the_table_and_keeps_its_pairs(tmp_path: Path) -> None:
    path = tmp_path / "w.pairsmith"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (MIGRATION_1,))
        conn = sqlite3.connect(path, isolation_level=None)
        conn.execute("BEGIN")
        migrations.create_schema(conn)
        for key, value in (("id", "abc"), ("domain", "git"), ("recipe", ""), ("language", "en")):
            conn.execute("INSERT INTO meta VALUES (?, ?)", (key, value))
        add_pair(conn, NewPair("Name a river.", "Nile"))
        conn.execute("COMMIT")
        conn.close()
    with open_workspace(path) as workspace:
        assert workspace.read(raters) == []
        pair = workspace.read(lambda conn: get_pair(conn, 1))
        assert (pair.instruction, pair.output) == ("Name a river.", "Nile")
    assert (tmp_path / "w.before-v2.pairsmith").exists()


@pytest.mark.parametrize("text", ["", "  ", "x" * 61])
def test_a_rater_has_a_name(text: str) -> None:
    with pytest.raises(UsageError, match="1 to 60"):
        rater_name(text)
    assert rater_name(" Ada \n Lovelace ") == "Ada Lovelace"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(choices=st.lists(st.sampled_from(["left", "right", "tie", "skip", "undo", "redo"]), max_size=25))
def test_whatever_is_pressed_the_store_holds_what_stands(
    tmp_path_factory: pytest.TempPathFactory, choices: list[str]
) -> None:
    with answered_workspace(tmp_path_factory.mktemp("w"), {"tuned": good, "base": bad}, 6) as workspace:
        sheet = sheet_of(workspace)
        standing: list[tuple[int, float | None]] = []
        undone: list[tuple[int, float | None]] = []
        for choice in choices:
            here = sheet_of(workspace).here
            if choice == "undo":
                moved = workspace.write(lambda conn: undo_rating(conn, "Ada", "compare"))
                assert (moved is not None) == bool(standing)
                undone += [standing.pop()] if standing else []
            elif choice == "redo":
                moved = workspace.write(lambda conn: redo_rating(conn, "Ada", "compare"))
                assert (moved is not None) == bool(undone)
                standing += [undone.pop()] if undone else []
            elif here is not None:
                rating = compared(sheet, here, choice)  # type: ignore[arg-type]
                workspace.write(lambda conn, rating=rating: add_rating(conn, rating))  # type: ignore[misc]
                standing.append((here.pair_id, rating.value))
                undone.clear()
        stored = workspace.read(lambda conn: ratings_of(conn, "compare", range(1, 7), "Ada"))
        assert sorted((one.pair_id, one.value is None) for one in stored) == sorted(
            (pair, value is None) for pair, value in standing
        )
        assert {one.pair_id: one.value for one in stored} == dict(standing)
        assert all(one.answer < one.other and len(one.answer) == len(answer_key("")) for one in stored)
