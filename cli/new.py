"""Make a workspace: one file that holds one dataset project."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pairsmith.backends.local_only import is_local
from pairsmith.backends.registry import OPENAI_URL, parse_spec
from pairsmith.backends.text import one_line
from pairsmith.pairs.recipes import ModelChoice, Recipe, load_recipe
from pairsmith.pairs.store.workspace import create_workspace

from .arguments import add_workspace
from .environment import Environment, read_environment
from .output import note, say

EXAMPLE = """
pairsmith new git.pairsmith --domain 'Git commands in plain language'
pairsmith new medical.pairsmith --domain 'Questions of patients' --local-only
pairsmith new git-zh.pairsmith --domain 'Git 命令' --recipe chinese
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
        help="a recipe file, or english, chinese or nim-reference",
    )
    parser.add_argument(
        "--local-only", action="store_true", help="refuse, for ever, whatever would leave this machine"
    )


def run(arguments: Namespace) -> int:
    """Make the file. Raises RecipeError, WorkspaceExists, UsageError."""
    recipe = load_recipe(arguments.recipe)
    environment = read_environment(arguments)
    chosen, refused = _choices(recipe, environment, arguments.local_only)
    with create_workspace(
        arguments.workspace,
        domain=arguments.domain,
        recipe_toml=recipe.text,
        language=recipe.language,
        local_only=arguments.local_only,
        meta=chosen,
    ) as workspace:
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
    for text in refused:
        note(text)
    name = one_line(str(arguments.workspace))
    say(
        arguments,
        lambda: [
            f"{name} is ready: {one_line(recipe.name)}{', local-only' if arguments.local_only else ''}",
            *(f"{kind}: {one_line(spec)} (from the recipe)" for kind, spec in chosen.items()),
            f"next: pairsmith generate {name} --pairs 100",
        ],
        data,
    )
    return 0


def _choices(recipe: Recipe, environment: Environment, local_only: bool) -> tuple[dict[str, str], list[str]]:
    """The models that the recipe names and that are allowed here, and what to say of the others."""
    chosen: dict[str, str] = {}
    refused: list[str] = []
    models: dict[str, ModelChoice | None] = {"generator": recipe.generator, "judge": recipe.judge}
    for kind, choice in models.items():
        if choice is None:
            continue
        spec = parse_spec(choice.model)
        if local_only and not _is_allowed(spec.backend, environment):
            refused.append(
                f"the recipe's {kind} {one_line(str(spec))} is left out: this workspace is local-only"
            )
        else:
            chosen[kind] = str(spec)
    return chosen, refused


def _is_allowed(backend: str, environment: Environment) -> bool:
    settings = environment.settings
    if backend == "nim":
        return is_local(settings.nim_url)
    return backend != "openai" or is_local(settings.base_url or OPENAI_URL)
