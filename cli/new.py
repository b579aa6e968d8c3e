"""Make a workspace: one file that holds one dataset project."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace

from pairsmith.backends.text import one_line
from pairsmith.pairs.making import make_workspace
from pairsmith.pairs.recipes import SHIPPED, Recipe, load_recipe

from .arguments import add_workspace
from .environment import read_environment
from .output import note, say

EXAMPLE = """
pairsmith new git.pairsmith --domain 'Git commands in plain language'
pairsmith new medical.pairsmith --domain 'Questions of patients' --local-only
pairsmith new git-zh.pairsmith --domain 'Git 命令' --recipe chinese
pairsmith new tasks.pairsmith --domain 'Everyday tasks' --recipe self-instruct
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument(
        "--domain", required=True, metavar="TEXT", help="what the dataset is about, in a sentence"
    )
    parser.add_argument(
        "--recipe",
        default="english",
        metavar="FILE",
        help=f"a recipe file, or {', '.join(SHIPPED[:-1])} or {SHIPPED[-1]}",
    )
    parser.add_argument(
        "--local-only", action="store_true", help="refuse, for ever, whatever would leave this machine"
    )


def run(arguments: Namespace) -> int:
    """Make the file. Raises RecipeError, WorkspaceExists, UsageError."""
    recipe = load_recipe(arguments.recipe)
    settings = read_environment(arguments).settings
    made = make_workspace(
        arguments.workspace, arguments.domain, recipe, settings, local_only=arguments.local_only
    )
    chosen = made.chosen
    with made.workspace as workspace:
        data = {
            "workspace": str(workspace.path),
            "id": workspace.id,
            "domain": arguments.domain,
            "recipe": recipe.name,
            "language": recipe.language,
            "local_only": workspace.local_only,
            "generator": chosen.get("generator"),
            "judge": chosen.get("judge"),
        }
    for text in made.refused:
        note(text)
    name = one_line(str(arguments.workspace))
    say(
        arguments,
        lambda: [
            f"{name} is ready: {one_line(recipe.name)}{', local-only' if arguments.local_only else ''}",
            *(f"{kind}: {one_line(spec)} (from the recipe)" for kind, spec in chosen.items()),
            f"next: pairsmith generate {name} {' '.join(_asked(recipe))}",
        ],
        data,
    )
    return 0


def _asked(recipe: Recipe) -> list[str]:
    """The flags of `generate` that ask for what the recipe's run was asked for."""
    run = recipe.run
    method = run.method or recipe.method
    flags = ["--pairs", str(run.pairs or 100)]
    for name, value in (
        ("--method", method if method != recipe.method else ""),
        ("--where", run.where),
        ("--examples", run.examples),
        ("--seed", str(run.seed) if run.seed >= 0 else ""),
    ):
        if value:
            flags += [name, shlex.quote(one_line(value))]
    if run.refine:
        flags.append("--refine")
    return [*flags, "--seed-tasks", "FILE"] if method == "self-instruct" else flags
