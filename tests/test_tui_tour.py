"""The guided tour: its strip and its list, steps recognised by what is in the workspace, left and gone on with; and the
whole of it, from nothing to a trained model that writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairsmith.backends.registry import Settings
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.runs import list_runs, set_state, start_run
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.pairs.surroundings import Surroundings
from pairsmith.pairs.tour import PAIRS, STEPS, Tour, begin_tour, is_tuned, note_tuned_file, read_tour
from pairsmith.pairs.user_settings import UserSettings
from pairsmith.tui.screens.export import ExportScreen
from pairsmith.tui.screens.tour import TourScreen
from pairsmith.tui.screens.train import TrainScreen
from pairsmith.tui.screens.train_form import DEFAULTS

from .brains import DefectiveLists, prompt_of
from .embedded_stand_in import put_in_place, take_away
from .generation import GENERATOR, REWARD, make_workspace
from .servers.nim import NimServer
from .tiny_gguf import make_tiny_gguf
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


async def tour_of(
    workspace: Workspace, folder: Path, generator: str = GENERATOR, judge: str | None = REWARD
) -> Tour:
    around = Surroundings({}, Settings(home=folder), UserSettings())
    return await read_tour(workspace, generator, judge, around)


def add_pairs(conn: Any, count: int, *, judged: int = 0, decided: int = 0) -> None:
    ids = [add_pair(conn, NewPair(f"Say number {n}", f"It is {n}")) for n in range(count)]
    for pair_id in ids[:judged]:
        judgement = Judgement(REWARD, "reward", scores={"helpfulness": Score(3.0)})
        add_judgement(conn, get_pair(conn, pair_id).version.id, judgement)
    if decided:
        decide(conn, ids[:decided], "accepted")


async def test_each_step_is_done_when_the_workspace_says_so(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        found = []

        async def look(**fields: Any) -> None:
            tour = await tour_of(workspace, tmp_path, **fields)
            assert tour.done <= {step.id for step in STEPS}
            found.append((tour.present.id if tour.present else None, tour.number, tour.said))

        await look(judge=None)
        await look()
        workspace.write(lambda conn: add_pairs(conn, 12))
        await look()
        workspace.write(lambda conn: conn.execute("UPDATE pair SET removed = 1").fetchall())
        workspace.write(lambda conn: add_pairs(conn, 0))
        workspace.write(
            lambda conn: [add_pair(conn, NewPair(f"Tell {n}", f"{n}", origin="human")) for n in range(PAIRS)]
        )
        await look()

        def judge_all(conn: Any) -> None:
            for pair_id, version in conn.execute(
                "SELECT id, version_id FROM pair WHERE removed = 0"
            ).fetchall():
                failed = pair_id % 10 == 0
                scores = {} if failed else {"helpfulness": Score(3.0)}
                add_judgement(
                    conn,
                    version,
                    Judgement(REWARD, "reward", scores=scores, reason="no number" if failed else None),
                )

        workspace.write(judge_all)
        await look()
        ids = workspace.read(
            lambda conn: [row[0] for row in conn.execute("SELECT id FROM pair WHERE removed = 0").fetchall()]
        )
        workspace.write(lambda conn: decide(conn, ids[:7], "rejected"))
        await look()
        workspace.write(lambda conn: decide(conn, ids[7:10], "accepted"))
        await look()
        for kind in ("train", "evaluate"):
            workspace.write(lambda conn, kind=kind: set_state(conn, start_run(conn, kind, {}), "done"))
            await look()
        file = tmp_path / "tuned.gguf"
        workspace.write(lambda conn: note_tuned_file(conn, file))
        await look()
        file.write_bytes(b"GGUF")
        await look()
    assert found == [
        ("models", 1, ""), ("generate", 2, f"0 of {PAIRS}"), ("generate", 2, f"12 of {PAIRS}"),
        ("judge", 3, f"0 of {PAIRS}"), ("review", 4, "0 of 10"), ("review", 4, "7 of 10"), ("train", 5, ""),
        ("evaluate", 6, ""), ("export", 7, ""), ("export", 7, ""), ("use", 8, ""),
    ]  # fmt: skip


def test_a_file_of_our_own_training_is_known_by_its_head_and_others_are_not(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    make_tiny_gguf(models / "other.gguf")
    make_tiny_gguf(models / "ours.gguf", extra={"pairsmith.prompt_style": "alpaca"})
    assert is_tuned("llama-cpp:ours", tmp_path)
    assert is_tuned(f"llama-cpp:{models}/ours.gguf", tmp_path)
    for spec in (
        "nim:x",
        "llama-cpp:embedded",
        "llama-cpp:other",
        "llama-cpp:nothing",
        f"llama-cpp:{models}/x.gguf",
        "ollama:ours",
    ):
        assert not is_tuned(spec, tmp_path)


def strip_of(app: Any) -> str:
    return screen_text(app).splitlines()[-2]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_strip_stands_over_the_last_line_of_every_place_and_covers_nothing(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    workspace = make_workspace(tmp_path, judge=REWARD)
    workspace.write(lambda conn: (add_pairs(conn, 3), begin_tour(conn)))
    async with application(environment(tmp_path), workspace, size=size) as (app, pilot):
        await until_shown(pilot, f"Tour 2/8: make {PAIRS} pairs (3 of {PAIRS}) · 4 Generate: g")
        for key in "23456789":
            await pilot.press(key)
            await until(pilot, lambda: strip_of(app).startswith(" Tour 2/8: "))
            assert screen_text(app).splitlines()[-1].strip()
            assert max(len(line) for line in screen_text(app).splitlines()) <= size[0]


async def test_without_a_tour_there_is_no_strip(tmp_path: Path) -> None:
    async with application(environment(tmp_path), make_workspace(tmp_path)) as (app, pilot):
        await until_shown(pilot, "Guided tour")
        assert "Tour 1/8" not in screen_text(app)


async def test_it_is_put_away_and_goes_on_where_it_was_also_after_a_restart(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, judge=REWARD)
    workspace.write(begin_tour)
    async with application(environment(tmp_path), workspace) as (app, pilot):
        await until_shown(pilot, "Tour 2/8")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "The guided tour, with git.pairsmith")
        await pilot.press("x")
        await until(pilot, lambda: app.session.tour is None)
        await until(pilot, lambda: "Tour 2/8" not in screen_text(app))
    again = open_workspace(workspace.path)
    async with application(environment(tmp_path), again) as (app, pilot):
        await until_shown(pilot, "Guided tour")
        assert "Tour 2/8" not in screen_text(app)
        again.write(lambda conn: add_pairs(conn, PAIRS))
        await pilot.press("ctrl+t")
        await until_shown(pilot, "enter begins")
        await pilot.press("enter")
        await until_shown(pilot, "Tour 3/8: have them scored")
        assert app.current_mode == "generate"
    third = open_workspace(workspace.path)
    async with application(environment(tmp_path), third, start="review") as (app, pilot):
        await until_shown(pilot, "Tour 3/8: have them scored")


async def test_the_palette_and_the_help_know_it(tmp_path: Path) -> None:
    async with application(environment(tmp_path), make_workspace(tmp_path)) as (app, pilot):
        await until_shown(pilot, "Guided tour")
        await pilot.press("question_mark")
        await until_shown(pilot, "Keys of Home")
        await until(pilot, lambda: "guided tour" in str(app.screen._lines))  # type: ignore[attr-defined]
        await pilot.press("escape", "ctrl+p", *"guided")
        await until_shown(pilot, "from fifty pairs to a model of your own")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TourScreen))


@pytest.mark.parametrize("there", [True, False])
async def test_on_a_first_run_it_makes_a_workspace_with_what_this_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        put_in_place(monkeypatch, tmp_path / "assets")
    else:
        take_away(monkeypatch)
    async with application(environment(tmp_path)) as (app, pilot):
        await until_shown(pilot, "Guided tour")
        await pilot.press("t")
        await until_shown(pilot, "enter begins")
        await pilot.press("enter")
        wanted = f"Tour 2/8: make {PAIRS} pairs" if there else "Tour 1/8: choose who writes"
        await until_shown(pilot, wanted)
        await until(pilot, lambda: app.current_mode == ("generate" if there else "backends"))
        assert app.session.path == tmp_path / "git-tour.pairsmith"


class Brain:
    """NIM: writes pairs about Git, scores them, and judges answers with a number."""

    def __init__(self) -> None:
        self._lists = DefectiveLists(seed=11, chance=0.1)

    def __call__(self, body: dict[str, Any]) -> Any:
        prompt = prompt_of(body)
        if "score" in prompt.lower() and "reward" not in body["model"]:
            return "40"
        return self._lists(body)


async def test_the_whole_tour_from_nothing_to_a_trained_model_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrainScreen, "LOOK_AFTER_S", 3600.0)
    async with NimServer(Brain()) as server:
        env = environment(tmp_path, server)
        async with application(env, size=(120, 40)) as (app, pilot):
            await until_shown(pilot, "Guided tour")
            await pilot.press("ctrl+t")
            await until_shown(pilot, "enter begins")
            await pilot.press("enter")
            await until(pilot, lambda: app.current_mode == "backends")
            await until_shown(pilot, "Tour 1/8")
            for key, spec in (("G", GENERATOR), ("J", REWARD)):
                await pilot.press("slash" if key == "G" else key)
                await until_shown(pilot, "Which model")
                await type_text(pilot, spec)
                await pilot.press("enter")
                await until(pilot, lambda: len(app.screen_stack) == 1)
            await until_shown(pilot, "Tour 2/8")
            await to_step(pilot, "generate")
            await pilot.press("g")
            await until_shown(pilot, "✓ done", 60)
            await until_shown(pilot, "Tour 4/8: review 10 of them")
            await to_step(pilot, "review")
            await until_shown(pilot, "of 50")
            for _ in range(10):
                await pilot.press("a")
            await until_shown(pilot, "Tour 5/8: train")
            await to_step(pilot, "train")
            train = app.screen
            assert isinstance(train, TrainScreen)
            assert train.chosen.base == "scratch:tiny"
            config = {**DEFAULTS, "sample_tokens": 5, "threads": 1, "epochs": 1}
            train.chosen = type(train.chosen)(train.chosen.base, config=config)
            await pilot.press("g")
            await until_shown(pilot, "Tour 6/8: measure it", 90)
            await to_step(pilot, "evaluate")
            await until_shown(pilot, "scratch:tiny")
            await pilot.press("g")
            await until_shown(pilot, "Tour 7/8: write the trained model", 120)
            await to_step(pilot, "export")
            assert isinstance(app.screen, ExportScreen)
            await pilot.press("m")
            await until_shown(pilot, "Write a trained model to a file")
            await pilot.press("enter")
            await until_shown(pilot, "Tour: all 8 steps are done", 60)
            file = tmp_path / "home" / "models" / "git-tour-run2.gguf"
            assert app.session.generator == "llama-cpp:git-tour-run2"
            assert file.read_bytes()[:4] == b"GGUF"
            workspace = app.session.workspace
            assert workspace is not None
            assert is_tuned(f"llama-cpp:{file.stem}", tmp_path / "home")
            await pilot.press("2")
            await until_shown(pilot, "MB)")
            app.screen.list.go_to("model:llama-cpp:git-tour-run2")  # type: ignore[attr-defined]
            await pilot.press("enter")
            await until(pilot, lambda: "✓ llama-cpp:git-tour-run2" in app.screen.detail, 60)  # type: ignore[attr-defined]
            kinds = {run.kind for run in workspace.read(list_runs)}
            assert kinds == {"generate", "train", "evaluate"}


async def to_step(pilot: Any, place: str) -> None:
    """ctrl+t, enter: to the present step."""
    await pilot.press("ctrl+t")
    await until(pilot, lambda: isinstance(pilot.app.screen, TourScreen))
    await pilot.press("enter")
    await until(
        pilot, lambda: pilot.app.current_mode == place and not isinstance(pilot.app.screen, TourScreen)
    )


async def test_a_tour_whose_pairs_are_gone_says_so_and_goes_back(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: add_pairs(conn, PAIRS, judged=PAIRS, decided=10))
        assert (await tour_of(workspace, tmp_path)).number == 5
        workspace.write(lambda conn: conn.execute("UPDATE pair SET removed = 1 WHERE id = 1").fetchall())
        tour = await tour_of(workspace, tmp_path)
        assert (tour.number, tour.said) == (2, f"{PAIRS - 1} of {PAIRS}")
        workspace.write(lambda conn: set_meta(conn, "tuned_files", "not json"))
        assert (await tour_of(workspace, tmp_path)).number == 2
