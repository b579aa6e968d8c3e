"""Write how this dataset is made to a TOML file that others can use: prompts, rules, the present generator and judge,
and what was asked of a run."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.export_place import check_target
from pairsmith.pairs.published import published
from pairsmith.pairs.recipe_files import with_models, with_run
from pairsmith.pairs.recipes import read_recipe
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.runs import Run, list_runs

from .arguments import add_workspace, path, whole
from .environment import present_generator, present_judge, read_environment
from .opening import opened
from .output import say

EXAMPLE = """
pairsmith recipe git.pairsmith git.toml
pairsmith recipe git.pairsmith git.toml --run 3
pairsmith new another.pairsmith --domain 'Docker commands' --recipe git.toml
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("path", metavar="PATH", type=path, help="the file to write; an older one is replaced")
    parser.add_argument(
        "--run",
        type=whole,
        metavar="ID",
        help="whose settings are written (default: the newest generate run's)",
    )


def run(arguments: Namespace) -> int:
    """Write the file. Raises RecipeError, UsageError, PairsmithError."""
    with opened(arguments, readonly=True) as workspace:
        environment = read_environment(arguments)
        generator, judge = present_generator(workspace, environment), present_judge(workspace, environment)
        stored = workspace.meta("recipe") or ""
        check_target(arguments.path, workspace.path)
        run = workspace.read(lambda conn: _run(conn, arguments.run))
    text = with_models(stored, generator, judge)
    if run is not None:
        text = with_run(text, run.settings)
    name = read_recipe(text, "the workspace's recipe").name
    with published(arguments.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    say(
        arguments,
        lambda: [
            f"{one_line(name)} to {one_line(str(arguments.path))}: generator {one_line(generator)},"
            f" judge {one_line(judge) if judge else 'not set'}"
            + (f", settings of run {run.id}" if run is not None else "")
        ],
        {
            "path": str(arguments.path),
            "name": name,
            "generator": generator,
            "judge": judge,
            "run": None if run is None else run.id,
        },
    )
    return 0


def _run(conn: sqlite3.Connection, wanted: int | None) -> Run | None:
    runs = list_runs(conn, "generate")
    if wanted is None:
        return runs[0] if runs else None
    for run in runs:
        if run.id == wanted:
            return run
    there = ", ".join(str(run.id) for run in runs[:10]) or "none"
    raise UsageError(f"there is no generate run {wanted}", f"Generate runs here: {there}")
