"""Pictures of every place for the documentation, taken from the real application.

    python tools/screenshots.py [WORKSPACE] [--size 100x30] [--to docs/screens] [--generate N]

Without a workspace, the sample that ships is imported into one that is thrown away, a few pairs are decided, and a
model is trained on them for some seconds: the one that ships where it is here (it writes N pairs first), else one of
random weights. Of a workspace whose runs lie elsewhere (--home), blind rating, chat and curve are taken where a run
was evaluated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from textual.pilot import Pilot

from pairsmith.backends.registry import Settings
from pairsmith.pairs.evaluate_job import EvaluateJob
from pairsmith.pairs.evaluate_options import EvaluateOptions
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.importing import import_file
from pairsmith.pairs.instances import Instance
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.run_plan import RunPlan, read_method
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.seed_tasks import SeedTask, add_seed_tasks
from pairsmith.pairs.store.topics import list_topics, set_quota
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace, create_workspace, open_workspace
from pairsmith.pairs.train_job import TrainJob
from pairsmith.pairs.training_settings import TrainSettings, usual_style
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.places import PLACES
from pairsmith.tui.screens.blind import CompareScreen, GradeScreen
from pairsmith.tui.screens.chat import ChatScreen
from pairsmith.tui.screens.choose import ChooseScreen
from pairsmith.tui.screens.train_form import has_embedded
from pairsmith.tui.session import DEFAULT_GENERATOR, Session
from pairsmith.tui.widgets.bars import KeyBar

QUESTION = "How do I undo my last commit?"
SEEDS = (
    ("Show me which branch I am on.", "git branch --show-current"),
    ("Name the newest commit v1.0.", "git tag v1.0"),
    ("What did my last commit change?", "git show"),
    ("Take main's newest commits into my branch.", "git merge main"),
    ("Bring back a file that I deleted but did not commit.", "git restore <file>"),
)
BEHIND: dict[str, tuple[str, ...]] = {
    "thresholds": ("5", "t"),
    "method": ("4", "M"),
    "seeds": ("4", "s"),
    "tour": ("1", "ctrl+t"),
    "get-model": ("2", "d"),
}
"""The keys that lead to what lies behind the places; escape leads back."""


def sample_workspace(folder: Path) -> Workspace:
    """The shipped sample, a third of it decided."""
    workspace = create_workspace(
        folder / "git.pairsmith",
        domain="Git commands in plain language",
        recipe_toml=load_recipe("english").text,
        language="English",
    )
    source = folder / "git.jsonl"
    source.write_bytes((files("pairsmith.assets") / "samples" / "git.jsonl").read_bytes())
    import_file(workspace, source)

    def some_verdicts(conn: object) -> None:
        decide(conn, [1, 2, 4, 6, 9], "accepted", by="human")  # type: ignore[arg-type]
        decide(conn, [3, 7], "rejected", by="human")  # type: ignore[arg-type]
        for topic in list_topics(conn):  # type: ignore[arg-type]
            set_quota(conn, topic.id, 40)  # type: ignore[arg-type]
        seeds = [SeedTask(asked, (Instance("", said),)) for asked, said in SEEDS]
        add_seed_tasks(conn, seeds)  # type: ignore[arg-type]

    workspace.write(some_verdicts)
    return workspace


async def generated(workspace: Workspace, home: Path, pairs: int) -> None:
    """So many pairs of the model that ships, scored by it."""

    def choose(conn: object) -> None:
        for kind in ("generator", "judge"):
            set_meta(conn, kind, DEFAULT_GENERATOR)  # type: ignore[arg-type]

    workspace.write(choose)
    plan = RunPlan(pairs).settings(workspace.read(read_method))
    async for _ in GenerateJob(
        workspace, plan, Settings(home=home, env=dict(os.environ)), GenerateOptions()
    ).events():
        pass


async def small_model(workspace: Workspace, home: Path) -> None:
    """Train and measure a model of seconds; its answers are worth what they cost."""
    config = {"epochs": 20, "learning_rate": 0.003, "sample_tokens": 20}
    base = "scratch:tiny"
    if has_embedded():
        base, config = "embedded", {**config, "epochs": 10, "learning_rate": 0.0003}
    settings = Settings(home=home)
    chosen = TrainSettings(base, config={**config, "prompt_style": usual_style(base)})
    async for _ in TrainJob(workspace, settings, chosen).events():
        pass
    async for _ in EvaluateJob(workspace, settings, EvaluateOptions(max_new_tokens=40)).events():
        pass


async def pictures_behind(pilot: Pilot[int], take: Callable[[str], None]) -> None:
    """What lies behind a key of a place."""
    for name, keys in BEHIND.items():
        await pilot.press(*keys)
        await pilot.pause(2.0)
        take(name)
        await pilot.press("escape")
        await pilot.pause(0.5)


async def model_pictures(app: PairsmithApp, pilot: Pilot[int], take: Callable[[str], None]) -> None:
    """Blind comparison and grading, chat, and the curve of the newest run."""
    for key, name, shown in (
        ("b", "blind", CompareScreen),
        ("s", "scales", GradeScreen),
        ("c", "chat", ChatScreen),
    ):
        await pilot.press("7", key)
        await pilot.pause(1.0)
        if isinstance(app.screen, ChooseScreen):
            await pilot.press("enter")
            await pilot.pause(1.0)
        screen = app.screen
        if not isinstance(screen, shown):
            print(f"no picture of {name}: {screen.query_one(KeyBar).noticed or 'nothing is evaluated here'}")
            continue
        if isinstance(screen, ChatScreen):
            await _until_quiet(pilot, screen)
            await pilot.press(*("space" if char == " " else char for char in QUESTION), "enter")
            await pilot.pause(0.5)
            await _until_quiet(pilot, screen)
            await pilot.pause(0.5)
        take(name)
        await pilot.press("escape")
        await pilot.pause(1.0)
    await pilot.press("6", "v")
    await pilot.pause(1.0)
    take("train-curve")


async def _until_quiet(pilot: Pilot[int], screen: ChatScreen) -> None:
    while screen.busy:
        await pilot.pause(0.2)


async def take_pictures(
    workspace: Workspace, env: dict[str, str], target: Path, size: tuple[int, int]
) -> list[Path]:
    """One SVG for each place, named after it, and those of the screens behind Evaluate and Train."""
    target.mkdir(parents=True, exist_ok=True)
    app = PairsmithApp(Session(env, workspace), start=PLACES[0].id)
    pictures = []

    def take(name: str) -> None:
        picture = target / f"{name}.svg"
        shown = app.export_screenshot(title="Pairsmith").replace(env["HOME"], "~")
        picture.write_text(shown, encoding="utf-8")
        pictures.append(picture)

    async with app.run_test(size=size) as pilot:
        for place in PLACES:
            await pilot.press(place.key)
            for _ in range(20):
                await pilot.pause(0.1)
            take(place.id)
        await pictures_behind(pilot, take)
        await model_pictures(app, pilot, take)
        await app.action_quit()
    return pictures


def main() -> None:
    """Take the pictures and name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", nargs="?", type=Path)
    parser.add_argument("--size", default="100x30")
    parser.add_argument("--home", type=Path, help="where the runs of WORKSPACE lie (PAIRSMITH_HOME)")
    parser.add_argument("--to", type=Path, default=Path("docs/screens"))
    parser.add_argument("--generate", type=int, default=0, metavar="N", help="pairs of the model that ships")
    arguments = parser.parse_args()
    columns, _, lines = arguments.size.partition("x")
    folder = Path(tempfile.mkdtemp())
    try:
        workspace = open_workspace(arguments.workspace) if arguments.workspace else sample_workspace(folder)
        home = folder / "home"
        home.mkdir()
        (home / "settings.toml").write_text('rater = "Ada"\n', encoding="utf-8")
        if arguments.home is not None:
            (home / "runs").symlink_to((arguments.home / "runs").absolute())
        env = {"PAIRSMITH_HOME": str(home), "HOME": str(folder), "PATH": ""}
        with workspace:
            if arguments.workspace is None:
                if arguments.generate:
                    asyncio.run(generated(workspace, home, arguments.generate))
                asyncio.run(small_model(workspace, home))
            taken = asyncio.run(take_pictures(workspace, env, arguments.to, (int(columns), int(lines))))
        print("\n".join(map(str, taken)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
