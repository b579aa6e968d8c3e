"""Write how this dataset is made, with the present generator and judge, to a TOML file that others can use."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from pairsmith.backends.text import one_line
from pairsmith.pairs.exporting import check_target, published
from pairsmith.pairs.recipe_files import with_models
from pairsmith.pairs.recipes import read_recipe

from .arguments import add_workspace, path
from .environment import present_generator, present_judge, read_environment
from .opening import opened
from .output import say

EXAMPLE = """
pairsmith recipe git.pairsmith git.toml
pairsmith new another.pairsmith --domain 'Docker commands' --recipe git.toml
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("path", metavar="PATH", type=path, help="the file to write; an older one is replaced")


def run(arguments: Namespace) -> int:
    """Write the file. Raises RecipeError, UsageError, PairsmithError."""
    with opened(arguments, readonly=True) as workspace:
        environment = read_environment(arguments)
        generator, judge = present_generator(workspace, environment), present_judge(workspace, environment)
        stored = workspace.meta("recipe") or ""
        check_target(arguments.path, workspace.path)
    text = with_models(stored, generator, judge)
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
        ],
        {"path": str(arguments.path), "name": name, "generator": generator, "judge": judge},
    )
    return 0
