"""The first run: the demonstration model where it is there, a model from the Hub where nothing is; and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.recommended_models import RECOMMENDED
from pairsmith.pairs.run_plan import RunPlan, write_plan
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.runs import list_runs
from pairsmith.pairs.store.stats import count_verdicts
from pairsmith.pairs.store.workspace import Workspace, create_workspace
from pairsmith.tui.screens import home_ways
from pairsmith.tui.screens.train import TrainScreen
from pairsmith.tui.widgets.bars import KeyBar

from .embedded_stand_in import put_in_place, take_away
from .generation import GENERATOR, make_workspace
from .servers.hub import Fault, Hub, Repo
from .servers.nim import NimServer
from .tiny_gguf import make_markov_gguf
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown

EMBEDDED = "llama-cpp:embedded"


def hub_env(folder: Path, hub: Hub) -> dict[str, str]:
    return environment(folder, HF_ENDPOINT=hub.url, HF_HOME=str(folder / "no-login"), HF_HUB_OFFLINE="0")


def serve(hub: Hub, folder: Path, size: int = 400_000) -> bytes:
    """The first recommended model on this Hub; a real GGUF with room at its end."""
    model = RECOMMENDED[0]
    folder.mkdir()
    path = make_markov_gguf(folder / "x.gguf", "show every old branch\nrename every old tag", end=0.9)
    data = path.read_bytes() + b"\0" * size
    repo = hub.repos["model", model.repo] = Repo("model", model.repo, private=False)
    repo.commit({model.file: data})
    return data


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_demonstration_model_is_offered_first_and_writes_and_judges_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    put_in_place(monkeypatch, tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(home_ways, "EMBEDDED_PAIRS", 2)
    async with application(environment(tmp_path), size=size) as (app, pilot):
        await until_shown(pilot, "a demonstration model is built in")
        shown = screen_text(app)
        assert shown.index("Try it now") < shown.index("Guided tour") < shown.index("Start for real")
        await pilot.press("enter")
        await until_shown(pilot, "kept 2", 100)
        workspace = app.session.workspace
        assert workspace is not None
        assert workspace.local_only
        assert (workspace.meta("generator"), workspace.meta("judge")) == (EMBEDDED, EMBEDDED)
        assert workspace.read(count_verdicts)["undecided"] == 2
        assert "The demonstration model writes and judges" in screen_text(app)
        for key in ("1", "2"):
            await pilot.press(key)
            await until_shown(pilot, "The demonstration model writes and judges")
        assert "d downloads one" in " ".join(screen_text(app).split())


async def test_without_it_a_download_is_offered_and_nothing_says_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path)) as (app, pilot):
        await until_shown(pilot, "Get a model")
        assert "demonstration" not in screen_text(app)
        assert "Try it now" not in screen_text(app)


async def test_a_model_is_downloaded_by_keys_and_offered_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with Hub() as hub:
        data = serve(hub, tmp_path / "hub")
        async with application(hub_env(tmp_path, hub)) as (app, pilot):
            await until_shown(pilot, "Get a model")
            await pilot.press("enter")
            await until_shown(pilot, "Download a model")
            await until_shown(pilot, "of memory")
            for text in ("Apache 2.0", RECOMMENDED[0].repo, "GB free"):
                assert text in " ".join(screen_text(app).split())
            assert not hub.seen
            await pilot.press("enter")
            await until_shown(pilot, f"{RECOMMENDED[0].id} is on this machine", 60)
            file = tmp_path / "home" / "models" / RECOMMENDED[0].file
            assert file.read_bytes() == data
            await pilot.press("2")
            await until_shown(pilot, RECOMMENDED[0].id)


async def test_a_download_shows_how_far_it_is_is_given_up_and_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with Hub() as hub:
        data = serve(hub, tmp_path / "hub", 3_000_000)
        hub.faults.append(Fault("GET /store/", "half"))
        async with application(hub_env(tmp_path, hub), start="backends") as (app, pilot):
            await until(pilot, lambda: len(app.screen.offered) == 4)  # type: ignore[attr-defined]
            await pilot.press("d")
            await until_shown(pilot, "of memory")
            await pilot.press("enter")
            entry = f"pull:{RECOMMENDED[0].id}"
            await until(pilot, lambda: entry in {one.id for one in app.screen.list.entries})  # type: ignore[attr-defined]
            await until_shown(pilot, f"of {len(data) / 1e6:.1f} MB", 30)
            await pilot.press("1")
            await until_shown(pilot, "is on its way")
            await pilot.press("2")
            app.screen.list.go_to(entry)  # type: ignore[attr-defined]
            await pilot.press("x")
            await until_shown(pilot, "given up")
            (part,) = (tmp_path / "home" / "hub").rglob("*.part")
            assert part.stat().st_size > 100_000
            hub.faults.clear()
            await pilot.press("d")
            await until_shown(pilot, "of memory")
            await pilot.press("enter")
            await until_shown(pilot, "is here", 30)
        ranges = [one.headers.get("range") for one in hub.seen if one.path.startswith("/store/")]
    assert ranges[0] is None
    assert ranges[-1] is not None
    assert (tmp_path / "home" / "models" / RECOMMENDED[0].file).read_bytes() == data


async def test_leaving_the_application_ends_a_download_and_keeps_what_has_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with Hub() as hub:
        serve(hub, tmp_path / "hub", 3_000_000)
        hub.faults.append(Fault("GET /store/", "half"))
        async with application(hub_env(tmp_path, hub), start="backends") as (app, pilot):
            await pilot.press("d")
            await until_shown(pilot, "of memory")
            await pilot.press("enter")
            await until(pilot, lambda: any(pull.completed > 100_000 for pull in app.pulls.all.values()), 30)
            (pull,) = app.pulls.all.values()
        assert pull.given_up
        assert list((tmp_path / "home" / "hub").rglob("*.part"))


@pytest.mark.parametrize(
    ("what", "said"), [("repo", "Repository not found"), ("spoil", "checksum"), ("offline", "HF_HUB_OFFLINE")]
)
async def test_what_goes_wrong_with_a_download_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    take_away(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with Hub() as hub:
        env = hub_env(tmp_path, hub)
        if what != "repo":
            serve(hub, tmp_path / "hub")
        if what == "spoil":
            hub.faults.append(Fault("GET /store/", "spoil"))
        if what == "offline":
            env["HF_HUB_OFFLINE"] = "1"
        async with application(env, start="backends", size=WIDE) as (_, pilot):
            await pilot.press("d")
            await until_shown(pilot, "of memory")
            await pilot.press("enter")
            await until_shown(pilot, said, 30)


async def test_a_local_only_workspace_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = load_recipe("english").text
    workspace = create_workspace(
        tmp_path / "w.pairsmith", domain="Git", recipe_toml=text, language="English", local_only=True
    )
    with Hub() as hub:
        async with application(hub_env(tmp_path, hub), workspace, start="backends") as (app, pilot):
            assert workspace.local_only
            await pilot.press("d")
            await until_shown(pilot, "of memory")
            await pilot.press("enter")
            await until_shown(pilot, "this workspace is local-only")
            assert not app.pulls.all
        assert not hub.seen


def other_domain(folder: Path, generator: str | None = EMBEDDED) -> Workspace:
    workspace = make_workspace(folder, generator=generator)
    workspace.write(lambda conn: (set_meta(conn, "domain", "Cooking at home"), write_plan(conn, RunPlan(4))))
    return workspace


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_domain_that_the_demonstration_model_does_not_know_is_refused_with_what_would_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    put_in_place(monkeypatch, tmp_path / "assets")
    workspace = other_domain(tmp_path)
    async with NimServer() as server:
        env = environment(tmp_path, server)
        async with application(env, workspace, start="generate", size=size) as (app, pilot):
            await until_shown(pilot, "knows Git commands only")
            text = " ".join(screen_text(app).split())
            assert "not “Cooking at home”" in text
            assert "What serves: a model of Ollama, NVIDIA NIM" in text
            await pilot.press("g")
            await until(pilot, lambda: app.screen.query_one(KeyBar).noticed != "")
            assert not workspace.read(list_runs)
            await pilot.press("G")
            await until_shown(pilot, "Which model writes")
            await type_text(pilot, GENERATOR)
            await pilot.press("enter")
            await until(pilot, lambda: app.session.generator == GENERATOR)
            # the last line still shows the notice of the refusal
            await until(pilot, lambda: "demonstration" not in screen_text(app).rpartition("\n")[0])


async def test_a_real_model_is_not_called_a_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, tmp_path / "assets")
    async with application(environment(tmp_path), make_workspace(tmp_path), start="generate") as (app, pilot):
        await until_shown(pilot, "generates 100 pairs")
        await pilot.pause()
        assert "demonstration" not in screen_text(app)


async def test_trains_base_is_offered_only_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairsmith.tui.screens.train_form import start_settings, turned

    def bases() -> set[str]:
        found: set[str] = set()
        chosen: Any = start_settings(None)
        while chosen.base not in found:
            found.add(chosen.base)
            chosen = turned(chosen, "base", 1)
        return found

    take_away(monkeypatch)
    assert "embedded" not in bases()
    put_in_place(monkeypatch, tmp_path / "assets")
    assert "embedded" in bases()


async def test_where_the_demonstration_model_is_at_work_training_begins_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, tmp_path / "assets")
    monkeypatch.setattr(TrainScreen, "LOOK_AFTER_S", 3600.0)
    workspace = make_workspace(tmp_path)
    workspace.write(lambda conn: set_meta(conn, "generator", EMBEDDED))
    async with application(environment(tmp_path), workspace, start="train") as (_, pilot):
        await until_shown(pilot, "‹ embedded ›")
        await until_shown(pilot, "‹ short ›")
