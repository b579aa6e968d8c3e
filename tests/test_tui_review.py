"""The reviewer by keyboard, on a real workspace: what each key changes on the disk and on the screen."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.errors import DiskFull
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.paging import Order, Threshold
from pairsmith.pairs.store.pair_rows import get_pair, get_versions
from pairsmith.pairs.store.score_columns import Scored
from pairsmith.pairs.store.verdicts import decide, get_verdict
from pairsmith.pairs.thresholds import Suggestion
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.screens.edit_pair import EditScreen
from pairsmith.tui.screens.review_queue import ReviewQueue
from pairsmith.tui.screens.review_status import Pace, status_row
from pairsmith.tui.screens.thresholds import ThresholdScreen
from pairsmith.tui.session import Session
from pairsmith.tui.widgets.fields import SafeArea

from .screens import (
    NARROW,
    WIDE,
    git_workspace,
    press,
    review_of,
    reviewing,
    screen_text,
    settle,
    until,
    verdicts,
)
from .stores import add_pairs, new_workspace


async def test_accept_and_reject_are_on_the_disk_and_bring_the_next_pair(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "r", "space", "a")
            assert review_of(pilot.app).cursor == 4
        assert [verdicts(workspace)[n] for n in (12, 11, 10, 9)] == [
            "accepted",
            "rejected",
            "undecided",
            "accepted",
        ]


async def test_undo_goes_back_to_the_pair_and_redo_does_it_again(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "r", "u")
            assert review_of(pilot.app).cursor == 1
            assert verdicts(workspace)[11] == "undecided"
            await press(pilot, "U")
            assert verdicts(workspace)[11] == "rejected"
            await press(pilot, "u", "u", "u")
            assert set(verdicts(workspace).values()) == {"undecided"}
            assert "Nothing to undo" in screen_text(pilot.app)


async def test_undo_reaches_acts_of_an_earlier_start_and_shows_their_pair(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: decide(conn, [5], "rejected"))
        async with reviewing(workspace) as pilot:
            await press(pilot, "u")
            assert verdicts(workspace)[5] == "undecided"
            row = review_of(pilot.app).current
            assert row is not None
            assert row.id == 5


async def test_a_failed_commit_is_said_and_taken_back_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:

            async def full(work: Any) -> None:
                raise DiskFull("w.pairsmith cannot grow: 0 MB free on its disk", "Free some space")

            monkeypatch.setattr(workspace, "awrite", full)
            await press(pilot, "a")
            screen = review_of(pilot.app)
            assert screen.cursor == 0
            assert screen.queue.tally["accepted"] == 0
            assert "cannot grow" in screen_text(pilot.app)
            monkeypatch.undo()
            await press(pilot, "a")
            assert verdicts(workspace)[12] == "accepted"


async def test_a_verdict_given_just_before_quitting_reaches_the_disk(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await pilot.press("a", "r", "ctrl+q")
        assert verdicts(workspace)[12] == "accepted"
        assert verdicts(workspace)[11] == "rejected"


async def test_what_is_shown_as_saved_is_saved(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            await press(pilot, "a")
            text = screen_text(pilot.app)
            assert "✓ #012 accepted · u takes it back" in text
            assert "✓ Who changed this line" in text


async def test_the_end_of_a_filter_says_what_was_done(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, *"aaarrraaaaaa")
            text = screen_text(pilot.app)
            assert "That was the last pair" in text
            assert "12 decided" in text
            await press(pilot, "a", "k")
            assert review_of(pilot.app).cursor == 11


async def test_the_end_of_a_filter_counts_what_it_left_undecided_itself(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            review_of(pilot.app).show(PairFilter(text="branch"))
            await settle(pilot)
            found = len(review_of(pilot.app).queue)
            assert 2 < found < 11
            await press(pilot, "a", "G", "j")
            assert f"{found - 1} of this filter are still undecided" in screen_text(pilot.app)
            await press(pilot, "home", *("a" * found))
            assert "That was the last pair" in screen_text(pilot.app)
            assert "still undecided" not in screen_text(pilot.app)
            review_of(pilot.app).show(PairFilter(verdict="accepted"))
            await settle(pilot)
            await press(pilot, "G", "a")
            assert "That was the last pair" in screen_text(pilot.app)
            assert "still undecided" not in screen_text(pilot.app)


async def test_an_empty_place_says_what_to_press(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            assert "There are no pairs yet" in screen_text(pilot.app)
            await press(pilot, "a", "r", "e", "g", "v", "x", "d", "n", "G", "home", "pagedown", "u", "U", "t")
            assert "There are no pairs yet" in screen_text(pilot.app)


async def test_editing_makes_a_version_that_is_undecided_again(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "k", "e")
            assert isinstance(pilot.app.screen, EditScreen)
            pilot.app.screen.query_one("#output", SafeArea).text = "git blame -L 3,3 file"
            await press(pilot, "f2")
            pair = workspace.read(lambda conn: get_pair(conn, 12))
            assert (pair.output, pair.verdict, pair.versions) == ("git blame -L 3,3 file", "undecided", 2)
            await press(pilot, "v")
            assert "git blame [-file-]" not in screen_text(pilot.app)
            assert "{+-L 3,3 +}file" in screen_text(pilot.app)
            await press(pilot, "v", "x")
            assert workspace.read(lambda conn: get_pair(conn, 12)).verdict == "accepted"
            await press(pilot, "u")
            assert workspace.read(lambda conn: get_pair(conn, 12)).output == "git blame -L 3,3 file"


async def test_leaving_the_editor_with_changes_asks_once(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "e", "x", "escape")
            assert isinstance(pilot.app.screen, EditScreen)
            await press(pilot, "escape")
            assert not isinstance(pilot.app.screen, EditScreen)
            assert len(workspace.read(lambda conn: get_versions(conn, 12))) == 1


async def test_an_edit_that_is_refused_stays_in_its_box(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "e")
            screen = pilot.app.screen
            screen.query_one("#instruction", SafeArea).text = "Tag this commit as a release"
            screen.query_one("#output", SafeArea).text = "git tag v1.0"
            await press(pilot, "f2")
            assert pilot.app.screen is screen
            assert "pair 11" in screen_text(pilot.app)
            screen.query_one("#output", SafeArea).text = "git tag v2.0"
            screen.query_one("#instruction", SafeArea).text = "Tag this commit as another release"
            await press(pilot, "f2")
            assert not isinstance(pilot.app.screen, EditScreen)
            assert workspace.read(lambda conn: get_pair(conn, 12)).output == "git tag v2.0"


@pytest.mark.parametrize(
    "change",
    [
        "s/#### response/hours of work/",
        "s/Who changed.*/Tag this commit as a release/;s/git b.*/git tag v1.0/",
    ],
)
async def test_what_was_written_in_the_external_editor_is_kept_where_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/name\nsed -i \'{change}\' "$1"\n')
    script.chmod(0o755)
    monkeypatch.setattr("pairsmith.tui.app.PairsmithApp.suspend", _no_suspend)
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, EDITOR=str(script)) as pilot:
            await press(pilot, "E")
            path = Path((tmp_path / "name").read_text().strip())
            assert f"what you wrote is kept in {path}" in screen_text(pilot.app)
            assert path.read_text()
            path.unlink()
            assert len(workspace.read(lambda conn: get_versions(conn, 12))) == 1


async def test_the_external_editor_edits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor"
    script.write_text("#!/bin/sh\nsed -i 's/blame file/blame other/' \"$1\"\n")
    script.chmod(0o755)
    monkeypatch.setattr("pairsmith.tui.app.PairsmithApp.suspend", _no_suspend)
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, EDITOR=str(script)) as pilot:
            await press(pilot, "E")
            assert workspace.read(lambda conn: get_pair(conn, 12)).output == "git blame other"


def _no_suspend(_self: object) -> Any:
    import contextlib

    return contextlib.nullcontext()


async def test_searching_filters_by_what_was_typed(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "slash", *"branch")
            await settle(pilot)
            assert "Rename the branch" in screen_text(pilot.app)
            await press(pilot, "enter")
            assert len(review_of(pilot.app).queue) == 5
            assert verdicts(workspace)[12] == "undecided"
            await press(pilot, "slash")
            pilot.app.screen.query_one(Input).value = ""
            await press(pilot, "enter")
            assert len(review_of(pilot.app).queue) == 12


async def test_the_filter_form_counts_before_it_is_applied(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "a", "f", "right", "right")
            assert "2 pairs" in screen_text(pilot.app)
            await press(pilot, "enter")
            assert len(review_of(pilot.app).queue) == 2


async def test_bulk_says_the_count_first_and_is_one_step_for_undo(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "r", "b")
            assert "11 of 11 pairs become accepted" in screen_text(pilot.app)
            assert list(verdicts(workspace).values()).count("accepted") == 0
            await press(pilot, "enter")
            assert list(verdicts(workspace).values()).count("accepted") == 11
            await press(pilot, "u")
            assert list(verdicts(workspace).values()).count("accepted") == 0
            assert verdicts(workspace)[12] == "rejected"


async def test_words_on_a_verdict_survive_the_same_verdict_again(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "n", "f3", *"too short", "enter", *"style tone", "f2")
            version = workspace.read(lambda conn: get_pair(conn, 12)).version.id
            given = workspace.read(lambda conn: get_verdict(conn, version))
            assert given is not None
            assert (given.verdict, given.reason, given.tags) == ("rejected", "too short", ("style", "tone"))
            assert "#style" in screen_text(pilot.app)
            await press(pilot, "r")
            assert workspace.read(lambda conn: get_verdict(conn, version)) is not None
            again = workspace.read(lambda conn: get_verdict(conn, version))
            assert again is not None
            assert again.reason == "too short"


async def test_words_that_cannot_be_stored_stay_in_their_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:

            async def full(work: Any) -> None:
                raise DiskFull("w.pairsmith cannot grow: 0 MB free on its disk", "Free some space")

            await press(pilot, "n", *"wrong flag")
            with monkeypatch.context() as patch:
                patch.setattr(workspace, "awrite", full)
                await press(pilot, "f2")
                assert "cannot grow" in screen_text(pilot.app)
                assert "wrong flag" in screen_text(pilot.app)
            await press(pilot, "f2")
            assert "Words on" not in screen_text(pilot.app)
            version = workspace.read(lambda conn: get_pair(conn, 12)).version.id
            given = workspace.read(lambda conn: get_verdict(conn, version))
            assert given is not None
            assert given.reason == "wrong flag"


async def test_verdicts_that_were_undone_are_not_of_this_sitting(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "u", "r", "u", "a")
            assert (review_of(pilot.app).pace.accepted, review_of(pilot.app).pace.rejected) == (1, 0)
            await press(pilot, "r", "u", "u", "U", "s")
            assert "1 decided: 1 ✓  0 ✗" in screen_text(pilot.app)


async def test_another_axis_is_weighed_before_its_suggestion_is_taken_or_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def late(scored: Scored, attribute: str, operator: Any, wanted: float) -> Suggestion | None:
        if attribute == "helpfulness":
            return Suggestion(Threshold(attribute, ">=", 3.3), 2, 2, 0.9)
        go_on.wait(30)
        return Suggestion(Threshold(attribute, "<=", 1.1), 2, 2, 0.9)

    monkeypatch.setattr("pairsmith.tui.screens.thresholds.suggest", late)
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "t")
            screen = pilot.app.screen
            assert isinstance(screen, ThresholdScreen)
            await pilot.press("tab", "y", "enter")
            assert pilot.app.screen is screen
            assert [one.attribute for one in screen.thresholds] == ["helpfulness"]
            go_on.set()
            await settle(pilot)
            assert screen.thresholds[1] == Threshold("verbosity", "<=", 1.1)


async def test_thresholds_show_what_they_keep_and_reject_only_the_undecided(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "t")
            text = screen_text(pilot.app)
            assert "helpfulness ≥ 3.00" in text
            assert "keeps 6 of 12" in text
            assert "you decided 1 by hand" in text
            await press(pilot, "right")
            assert "helpfulness >= 3.1" in screen_text(pilot.app)
            await press(pilot, "left", "enter")
            found = verdicts(workspace)
            assert list(found.values()).count("rejected") == 6
            await press(pilot, "u")
            assert list(verdicts(workspace).values()).count("rejected") == 0
            assert verdicts(workspace)[12] == "accepted"


async def test_least_certain_first_follows_the_kept_line(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "t", "w", "o", "right", "right", "enter")
            screen = review_of(pilot.app)
            assert screen.order.by == "least certain"
            first = screen.current
            assert first is not None
            assert next(iter(first.judged.values())).scores["helpfulness"] == 3.0
            assert "least certain first" in screen_text(pilot.app)


async def test_near_duplicates_stand_beside_and_can_be_gone_to(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            screen = review_of(pilot.app)
            await press(pilot, "end")
            await until(pilot, lambda: screen.near, "the nearest pair")
            assert "≈" in screen_text(pilot.app)
            await press(pilot, "d")
            assert "git switch -c my-branch" in screen_text(pilot.app)
            await press(pilot, "enter")
            assert screen.current is not None
            assert screen.current.id == 2


async def test_new_pairs_join_the_list_without_moving_what_is_read(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            screen = review_of(pilot.app)
            await press(pilot, "j", "j")
            here = screen.current
            add_pairs(workspace, 3)
            await until(pilot, lambda: len(screen.queue) == 15, "three more pairs")
            assert screen.current is not None
            assert here is not None
            assert screen.current.id == here.id


async def test_pairs_that_come_while_the_list_is_read_stand_in_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ReviewQueue.whole

    async def late(queue: ReviewQueue, chosen: PairFilter, order: Order) -> bool:
        await asyncio.to_thread(add_pairs, queue.workspace, 1, 1000)
        return await whole(queue, chosen, order)

    monkeypatch.setattr(ReviewQueue, "whole", late)
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 400)
        async with reviewing(workspace) as pilot:
            queue = review_of(pilot.app).queue
            await until(pilot, lambda: len(queue) == 401)
            await asyncio.sleep(0.3)  # until it watches
            add_pairs(workspace, 1, 2000)
            await until(pilot, lambda: len(queue) > 401)
            assert list(queue.ids) == list(range(402, 0, -1))


async def test_verdicts_of_another_process_appear(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            workspace.write(lambda conn: decide(conn, [11], "rejected"))
            await until(pilot, lambda: "✗ Tag this commit" in screen_text(pilot.app), "the other's verdict")


async def test_statistics_show_rates_with_an_interval(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "a", "a", "r", "s")
            text = screen_text(pilot.app)
            assert "3 decided: 2 ✓  1 ✗" in text
            assert "67%  (95 %: 21% to 94%, n 3)" in text


async def test_long_texts_scroll_and_say_how_much_is_below(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        from pairsmith.pairs.store.pair_rows import NewPair, add_pair

        text = "\n".join(f"line {n}" for n in range(60))
        workspace.write(lambda conn: add_pair(conn, NewPair("A long one", text)))
        async with reviewing(workspace, NARROW) as pilot:
            assert "more lines" in screen_text(pilot.app)
            await press(pilot, *"JJJJJJJJJJ")
            assert "line 59" in screen_text(pilot.app)
            await press(pilot, *"KKKKKKKKKK")
            assert "line 0" in screen_text(pilot.app)


async def test_copying_sends_the_whole_response_to_the_terminals_clipboard(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "c")
            assert pilot.app.clipboard == "git blame file"


async def test_the_list_can_be_hidden_and_clicked(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            screen = review_of(pilot.app)
            await pilot.click(screen.list, offset=(4, 3))
            await settle(pilot)
            assert screen.cursor == 3
            await press(pilot, "l")
            assert not screen.list.display
            await press(pilot, "l")
            assert screen.list.display


def test_the_status_says_for_which_pairs_another_response_is_on_its_way() -> None:
    def said(*asking: int) -> str:
        row = status_row(PairFilter(), Order(), Pace(), 5, topic="", reading=False, width=80, asking=asking)
        return "".join(piece.text for piece in row)

    assert "another response" not in said()
    assert said(26).startswith(" … another response to #026 · ")
    assert said(31, 26).startswith(" … another response to #026 and 1 more · ")


@pytest.mark.parametrize("start", ["home", "review"])
@pytest.mark.parametrize("size", [(100, 30), WIDE])
async def test_beside_the_list_the_first_pair_is_laid_out_for_the_room_that_is_left(
    tmp_path: Path, size: tuple[int, int], start: str
) -> None:
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: edit_pair(conn, 12, output="word " * 100 + "the end"))
        app = PairsmithApp(Session({"PAIRSMITH_HOME": str(tmp_path)}, workspace), start=start)
        async with app.run_test(size=size) as pilot:
            await press(pilot, "5")
            await until(pilot, lambda: "word word" in screen_text(app), "the pair")
            await settle(pilot)
            shown = screen_text(app)
            assert "#012" in shown
            assert "the end" in shown
            full = [one for one in shown.splitlines() if "word word" in one and "the end" not in one]
            assert {one[-5:] for one in full} == {" word"}
