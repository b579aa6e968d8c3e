"""Pictures of every place for the documentation, taken from the real application.

    python tools/screenshots.py [WORKSPACE] [--size 100x30] [--to docs/screens]

Without a workspace, the sample that ships is imported into one that is thrown away, and a few pairs are decided.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from pairsmith.pairs.importing import import_file
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.store.topics import list_topics, set_quota
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace, create_workspace, open_workspace
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.places import PLACES
from pairsmith.tui.session import Session


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

    workspace.write(some_verdicts)
    return workspace


async def take_pictures(
    workspace: Workspace, env: dict[str, str], target: Path, size: tuple[int, int]
) -> list[Path]:
    """One SVG for each place, named after it."""
    target.mkdir(parents=True, exist_ok=True)
    app = PairsmithApp(Session(env, workspace), start=PLACES[0].id)
    pictures = []
    async with app.run_test(size=size) as pilot:
        for place in PLACES:
            await pilot.press(place.key)
            for _ in range(20):
                await pilot.pause(0.1)
            picture = target / f"{place.id}.svg"
            shown = app.export_screenshot(title="Pairsmith").replace(env["HOME"], "~")
            picture.write_text(shown, encoding="utf-8")
            pictures.append(picture)
        await app.action_quit()
    return pictures


def main() -> None:
    """Take the pictures and name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", nargs="?", type=Path)
    parser.add_argument("--size", default="100x30")
    parser.add_argument("--to", type=Path, default=Path("docs/screens"))
    arguments = parser.parse_args()
    columns, _, lines = arguments.size.partition("x")
    folder = Path(tempfile.mkdtemp())
    try:
        workspace = open_workspace(arguments.workspace) if arguments.workspace else sample_workspace(folder)
        env = {"PAIRSMITH_HOME": str(folder / "home"), "HOME": str(folder), "PATH": ""}
        with workspace:
            taken = asyncio.run(take_pictures(workspace, env, arguments.to, (int(columns), int(lines))))
        print("\n".join(map(str, taken)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
