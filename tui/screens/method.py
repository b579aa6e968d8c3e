"""How the next run finds its instructions: the method, what a Self-Instruct prompt shows, whether rewriting mends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pairsmith.pairs.examples import PRESETS, parse_examples
from pairsmith.pairs.instruction_rules import MENDABLE
from pairsmith.pairs.recipes import METHODS
from pairsmith.pairs.run_plan import RunPlan
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.seed_tasks import count_seed_tasks
from pairsmith.pairs.workspace_recipe import recipe_of

from .ask import Choice, FormScreen, Text, Values
from .demonstration import refusal
from .planning import estimate_lines, said_estimate

if TYPE_CHECKING:
    from ..app import PairsmithApp
    from ..session import Session

POOL = "self-instruct"
_OWN = "own"
_SAID = {
    "topic-tree": "topic tree: topics, then instructions for each",
    POOL: "self-instruct: from seed tasks",
}
_SHOWN = {
    "paper": "paper: 6 seed tasks + 2 of the model's",
    "alpaca": "alpaca: 3 seed tasks",
    "mixed": "mixed: 3 from seeds and the model's alike",
}


class Way:
    """What a workspace says of its method: the recipe's own, what that shows, how many seed tasks there are."""

    def __init__(self, method: str, examples: str, seeds: int) -> None:
        self.method, self.examples, self.seeds = method, examples, seeds

    @classmethod
    def read(cls, conn: sqlite3.Connection) -> Way:
        """Read it. Raises RecipeError."""
        recipe = recipe_of(conn)
        return cls(recipe.method, recipe.self_instruct.examples, count_seed_tasks(conn))

    def of(self, plan: RunPlan) -> str:
        """The method of the next run."""
        return plan.method or self.method

    def said(self, plan: RunPlan) -> str:
        """'self-instruct, paper, refine · 175 seed tasks'."""
        method = self.of(plan)
        parts = [method]
        if method == POOL:
            parts.append(plan.examples or self.examples)
        if plan.refine:
            parts.append("refine")
        seeds = (
            f"{self.seeds:,} seed task{'' if self.seeds == 1 else 's'}" if self.seeds else "no seed task yet"
        )
        return ", ".join(parts) + (f" · {seeds}" if method == POOL else "")

    def lacks_seeds(self, plan: RunPlan) -> bool:
        """Whether the next run could not begin."""
        return self.of(plan) == POOL and not self.seeds


def method_form(
    session: Session, plan: RunPlan, way: Way, keep: Callable[[RunPlan], Awaitable[None]]
) -> FormScreen:
    """Ask for method, examples and refine; below, what the next run would be and cost."""
    usual = _SAID.get(way.method, way.method).partition(":")[0]
    methods = [("", f"as the recipe says: {usual}"), *((name, _SAID.get(name, name)) for name in METHODS)]
    examples = [
        ("", f"as the recipe says: {way.examples}"),
        *((name, _SHOWN.get(name, name)) for name in PRESETS),
    ]
    examples.append((_OWN, "as typed below"))
    known = plan.examples in (None, *PRESETS)

    def chosen(values: Values) -> RunPlan:
        own = values["own"].strip()
        shown = own if values["examples"] == _OWN else values["examples"] or None
        if shown is not None and parse_examples(shown) is None:
            raise ValueError("Examples are like 4+2: seed tasks, then the model's own; 50 together at most")
        return replace(
            plan, method=values["method"] or None, examples=shown, refine=values["refine"] == "yes"
        )

    async def do(values: Values) -> str | None:
        await keep(chosen(values))
        return None

    async def say(values: Values) -> str:
        asked = chosen(values)
        hint = "\ns lists the seed tasks: write some, or import a file" if way.lacks_seeds(asked) else ""
        price = estimate_lines((await said_estimate(session, asked)).partition(" limits: ")[0], 200)
        return f"{way.said(asked)}{hint}\n{' '.join(price)}"

    fields: list[Text | Choice] = [
        Choice("method", "method", methods, plan.method or ""),
        Choice("examples", "examples", examples, (plan.examples or "") if known else _OWN),
        Text("own", "or so many", "" if known else plan.examples or "", "like 4+2: seed tasks + the model's"),
        Choice(
            "refine",
            "refine",
            (("no", "no"), ("yes", "yes: what breaks a mendable rule is rewritten once")),
            "yes" if plan.refine else "no",
        ),
    ]
    intro = f"Refine mends: {', '.join(sorted(MENDABLE))}."
    return FormScreen("How the next run finds instructions", fields, do, say=say, intro=intro)


async def may_begin(app: PairsmithApp, plan: RunPlan) -> bool:
    """Whether the run can begin: the demonstration model knows the domain, and the method has what it needs. Says why
    not, and opens the seed tasks where those are what is missing.

    Raises PairsmithError.
    """
    workspace = app.session.workspace
    assert workspace is not None
    refused = refusal(app.session)
    if refused:
        app.notify(refused, severity="error", timeout=15)
        return False
    if not (await workspace.aread(Way.read)).lacks_seeds(plan):
        return True
    from .seeds import SeedsScreen

    await app.push_screen(SeedsScreen(app.current_mode))
    app.notify(
        "Self-Instruct starts from seed tasks: write some (a), or import a file (i)", severity="warning"
    )
    return False
