"""The ways into a workspace: a new one, an open one, a file to import, a demonstration; and a key to keep."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError, UsageError

from ..places import place_named
from ..session import DEFAULT_GENERATOR
from ..working import begin
from .ask import AskYes, Choice, FormScreen, Text, Values
from .form_rows import present_folder
from .progress import ProgressScreen

if TYPE_CHECKING:
    from pairsmith.pairs.hub_access import HubAccess
    from pairsmith.pairs.hub_names import HubSource
    from pairsmith.pairs.importing import FileImport
    from pairsmith.pairs.recipe_tables import Recipe
    from pairsmith.pairs.store.workspace import Workspace

    from ..app import PairsmithApp

SUFFIX = ".pairsmith"
_RECIPES = (
    ("english", "English"),
    ("chinese", "Chinese"),
    ("nim-reference", "reference pipeline, English (NVIDIA NIM, remote)"),
    ("self-instruct", "Self-Instruct from seed tasks, English"),
    ("self-instruct-code", "Self-Instruct for programming, English"),
    ("self-instruct-chinese", "Self-Instruct from seed tasks, Chinese"),
)
DEMO_DOMAIN = "Git commands in plain language"
DEMO_PAIRS = 20
EMBEDDED_PAIRS = 50


def new_form(app: PairsmithApp) -> FormScreen:
    """Domain, file, language, local-only."""

    async def do(values: Values) -> str | None:
        if not values["domain"].strip():
            return "Say in a sentence what your data should be about"
        path = present_folder() / named(values["file"], values["domain"])
        recipe = values["own"].strip() or values["recipe"]
        made = await make(app, path, values["domain"].strip(), recipe, local_only=values["local"] == "yes")
        # Only once this form is closed: it lies over the place that is here now.
        app.call_later(go_on, app, made)
        return None

    fields: list[Text | Choice] = [
        Text("domain", "about", "", "such as: Git commands in plain language"),
        Text("file", "file", "", f"empty: named after that, in {one_line(str(present_folder()), 80)}"),
        Choice("recipe", "recipe", _RECIPES),
        Text("own", "or a recipe file", "", "a TOML file of your own; empty: the one above"),
        Choice(
            "local",
            "local-only",
            (("no", "no"), ("yes", "yes: refuse for ever whatever would leave this machine")),
        ),
    ]
    return FormScreen("A new workspace", fields, do)


def named(file: str, domain: str) -> Path:
    """The path that was typed, with our suffix; where none was, one made of the domain's first words."""
    text = file.strip()
    if not text:
        words = re.findall(r"\w+", domain.lower())[:3]
        text = "-".join(words)[:40] or "my"
    path = Path(text).expanduser()
    return path if path.suffix else path.with_name(path.name + SUFFIX)


async def make(app: PairsmithApp, path: Path, domain: str, recipe_name: str, *, local_only: bool) -> Recipe:
    """Make a workspace and open it; its recipe. Raises PairsmithError."""
    from pairsmith.pairs.making import make_workspace
    from pairsmith.pairs.recipes import load_recipe

    settings = (await app.session.surroundings()).settings
    recipe = await asyncio.to_thread(load_recipe, recipe_name)
    made = await asyncio.to_thread(
        lambda: make_workspace(path.absolute(), domain, recipe, settings, local_only=local_only)
    )
    await app.use(made.workspace)
    for text in made.refused:
        app.notify(text, severity="warning")
    return recipe


async def go_on(app: PairsmithApp, recipe: Recipe) -> None:
    """To what comes first in a new workspace: its seed tasks, or its topics."""
    if recipe.method == "self-instruct":
        from .seeds import SeedsScreen

        await app.action_place("generate")
        app.push_screen(SeedsScreen("generate"))
    elif place_named("topics") is not None:
        await app.action_place("topics")


def open_form(app: PairsmithApp) -> FormScreen:
    """A file to open; one that is no workspace is imported into a new one."""

    async def do(values: Values) -> str | None:
        path = Path(values["file"].strip()).expanduser()
        if not values["file"].strip():
            return "Type the path of a file"
        if not path.is_file():
            return f"There is no file {one_line(str(path))}"
        if await asyncio.to_thread(is_workspace, path):
            await open_path(app, path)
        else:
            begin(app, _import_anew, app, path.absolute())
        return None

    fields = [Text("file", "file", "", "a .pairsmith file, or JSON, JSONL, CSV, Parquet")]
    return FormScreen("Open", fields, do)


def is_workspace(path: Path) -> bool:
    """Whether a file is a database (ours or not: opening it says which)."""
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0" or path.suffix == SUFFIX


async def open_path(app: PairsmithApp, path: Path) -> None:
    """Open a workspace. Raises PairsmithError; then the present one stays."""
    if app.session.path is not None and app.session.path.absolute() == path.absolute():
        return
    await app.open(path.absolute())


async def _import_anew(app: PairsmithApp, path: Path) -> None:
    target = path.with_suffix(SUFFIX)
    lines = [
        f"{one_line(path.name)} is not a workspace. Make {one_line(target.name)} beside it and import it there?"
    ]
    if not await app.push_screen_wait(
        AskYes("Import into a new workspace", lines, yes="make it", no="leave")
    ):
        return
    try:
        recipe = await make(app, target, f"The data of {path.name}", "english", local_only=False)
    except (PairsmithError, OSError) as error:
        app.notify(str(error), severity="error")
        return
    if await import_into(app, path, "auto"):
        await app.action_place("review")
    else:
        await go_on(app, recipe)


def import_form(app: PairsmithApp) -> FormScreen:
    """A file to import, looked at first."""
    from pairsmith.pairs.import_formats import NAMES

    async def do(values: Values) -> str | None:
        if values["file"].strip().startswith("hf:"):
            await _begin_download(app, values["file"].strip(), values["format"])
            return None
        path = Path(values["file"].strip()).expanduser()
        if not values["file"].strip() or not path.exists():
            return (
                f"There is no file {one_line(str(path))}"
                if values["file"].strip()
                else "Type the path of a file"
            )
        begin(app, import_into, app, path.absolute(), values["format"])
        return None

    fields: list[Text | Choice] = [
        Text(
            "file",
            "file",
            "",
            "JSON, JSONL, CSV, Parquet, a workspace, a folder of datasets, or hf:OWNER/NAME",
        ),
        Choice(
            "format", "format", [(name, "found out" if name == "auto" else name) for name in NAMES], "auto"
        ),
    ]
    return FormScreen("Import pairs", fields, do, hint="enter shows what it would do   esc leaves")


async def import_into(app: PairsmithApp, path: Path, form: str) -> bool:
    """Preview, ask, import; whether it was imported. Call it in a worker."""
    return await _import_files(app, [path], one_line(path.name), form)


async def _begin_download(app: PairsmithApp, text: str, form: str) -> None:
    """Read `hf:OWNER/NAME` and begin. Raises UsageError, and NotAllowed where the workspace is local-only."""
    from pairsmith.pairs.hub_access import find_access
    from pairsmith.pairs.hub_names import read_hub_source

    workspace = app.session.workspace
    assert workspace is not None
    source = read_hub_source(text)
    surroundings = await app.session.surroundings()
    access = await asyncio.to_thread(find_access, surroundings.env, local_only=workspace.local_only)
    begin(app, _import_from_hub, app, source, access, surroundings.settings.home, form)


async def _import_from_hub(
    app: PairsmithApp, source: HubSource, access: HubAccess, home: Path, form: str
) -> None:
    """Download, then as with files."""
    from pairsmith.pairs.import_hub import KINDS, Download, download_dataset

    work: ProgressScreen[Download] = ProgressScreen(
        f"Downloading {one_line(str(source), 60)}",
        lambda tell, check: download_dataset(
            source, access, home, tell=lambda _what, done, total: tell(done, total), check=check
        ),
        "bytes",
    )
    download = await app.push_screen_wait(work)
    if download is not None and await _import_files(app, download.files, download.name, form, KINDS):
        await asyncio.to_thread(download.forget)


async def _import_files(
    app: PairsmithApp, files: Sequence[Path], name: str, form: str, kinds: Sequence[str] | None = None
) -> bool:
    """Preview, ask, import; whether it was imported."""
    workspace = app.session.workspace
    assert workspace is not None
    seen = await _run_import(app, workspace, files, name, form, kinds, preview=True)
    if seen is None:
        return False
    if not await app.push_screen_wait(
        AskYes(f"Import {one_line(name, 60)}", report_lines(seen), yes="import it", no="leave")
    ):
        return False
    done = await _run_import(app, workspace, files, name, form, kinds, preview=False)
    if done is None:
        return False
    app.notify(f"Imported {done.added:,} pairs; undo in Review takes all of them back")
    app.tell_news("review")
    return True


async def _run_import(
    app: PairsmithApp,
    workspace: Workspace,
    files: Sequence[Path],
    name: str,
    form: str,
    kinds: Sequence[str] | None,
    *,
    preview: bool,
) -> FileImport | None:
    from pairsmith.pairs.importing import import_files

    work: ProgressScreen[FileImport] = ProgressScreen(
        f"{'Looking at' if preview else 'Importing'} {one_line(name, 60)}",
        lambda tell, check: import_files(
            workspace, files, name, kinds=kinds, format=form, preview=preview, progress=tell, check=check
        ),
        "bytes",
    )
    return await app.push_screen_wait(work)


def report_lines(report: FileImport) -> list[str]:
    """What an import would do."""
    lines = [f"{report.added:,} of {report.rows:,} rows are new pairs ({report.format})."]
    if report.duplicates:
        lines.append(f"{report.duplicates:,} are here already: same instruction, input and response.")
    if report.without_response:
        lines.append(f"{report.without_response:,} have an empty response.")
    lines += report.notes
    if report.refused:
        lines.append(f"{report.refused:,} are refused, such as {one_line(str(report.refusals[0]), 200)}")
    return lines


async def try_it(app: PairsmithApp, writer: str) -> None:
    """A small workspace about Git, written by a model of this machine; generation begins. Raises PairsmithError."""
    from pairsmith.pairs.making import make_workspace
    from pairsmith.pairs.recipes import load_recipe
    from pairsmith.pairs.run_plan import RunPlan, write_plan
    from pairsmith.pairs.store.meta import set_meta

    settings = (await app.session.surroundings()).settings
    path = free_path(Path.cwd(), "git-demo")
    embedded = writer == DEFAULT_GENERATOR
    plan = RunPlan(EMBEDDED_PAIRS if embedded else DEMO_PAIRS)

    def prepare() -> Workspace:
        workspace = make_workspace(
            path, DEMO_DOMAIN, load_recipe("english"), settings, local_only=True
        ).workspace

        def fill(conn: object) -> None:
            set_meta(conn, "generator", writer)  # type: ignore[arg-type]
            if embedded:
                set_meta(conn, "judge", writer)  # type: ignore[arg-type]
            write_plan(conn, plan)  # type: ignore[arg-type]

        workspace.write(fill)
        return workspace

    await app.use(await asyncio.to_thread(prepare))
    app.jobs.start_generate(plan)
    await app.action_place("generate")


def free_path(folder: Path, name: str) -> Path:
    """A workspace's path that is not taken. Raises UsageError."""
    for number in range(1, 1000):
        path = folder / (f"{name}{SUFFIX}" if number == 1 else f"{name}-{number}{SUFFIX}")
        if not path.exists():
            return path
    raise UsageError(f"there are too many files called {name} here")


def key_form(app: PairsmithApp, then: Callable[[], None]) -> FormScreen:
    """A key for NIM, kept in the system's keyring and bound to its server."""

    async def do(values: Values) -> str | None:
        from pairsmith.backends.keys import Secret, store_key
        from pairsmith.backends.preflight import address_of

        text = values["key"].strip()
        if not text:
            return "Paste the key here (a free one: build.nvidia.com)"
        settings = (await app.session.surroundings()).settings
        origin = address_of("nim", settings)
        await asyncio.to_thread(store_key, "NVIDIA_API_KEY", origin, Secret(text))
        app.notify(f"The key is kept for {origin}")
        with contextlib.suppress(RuntimeError):
            then()
        return None

    intro = "It goes into this system's keyring, for NVIDIA's server alone; never into a file of ours."
    return FormScreen("A key for NVIDIA NIM", [Text("key", "key", secret=True)], do, intro=intro)
