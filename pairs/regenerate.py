"""Asking the present generator for another response to one pair. What comes is a further version; the old ones stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairsmith.backends.protocol import Capabilities, Request

from .calling import Caller
from .doors import Doors
from .errors import PairsmithError
from .limits import Budget, LimitReached, Limits
from .methods import Tools
from .recipes import load_recipe, read_recipe
from .store.edits import add_model_version
from .store.errors import DuplicatePair, NoSuchPair
from .store.meta import get_meta
from .store.pair_rows import Pair, get_pair
from .store.review_rows import topic_paths
from .topic_tree import read_response, response_request

if TYPE_CHECKING:
    from pairsmith.backends.registry import Settings

    from .store.driver import sqlite3
    from .store.workspace import Workspace

_PATIENCE_S = 30.0
_CALLS = Limits(calls=5)


async def regenerate(
    workspace: Workspace,
    pair_id: int,
    settings: Settings,
    *,
    generator: str | None = None,
    doors: Doors | None = None,
) -> int:
    """Ask once, store the answer as a version of its own and choose it; returns its id. One act for undo.

    The prompt is the recipe's, without a fixed seed, so that the answer is a new one. The call is booked like any
    other. `generator` is the user's own default where the workspace names none. Raises NoSuchPair, DuplicatePair,
    BackendError, PairsmithError where the answer is no response (cut off, refused, empty, the same as before), or where
    the pair was edited meanwhile (the response to what it said before is then kept as a version, not chosen).
    """
    pair, recipe_text, domain, topic = await workspace.aread(lambda conn: _read(conn, pair_id))
    recipe = read_recipe(recipe_text, "the workspace's recipe") if recipe_text else load_recipe("english")
    own = doors is None
    doors = doors or Doors(workspace, settings, generator=generator)
    caller = Caller(workspace, None, Budget(_CALLS), settings, prices=recipe.prices, patience_s=_PATIENCE_S)
    tools = Tools(workspace, doors, caller, recipe, domain)

    def make(_capabilities: Capabilities) -> Request:
        return response_request(recipe, domain, topic, pair.instruction, pair.input)

    try:
        answered = await tools.ask(make, purpose="response", subject=f"pair {pair_id}")
    except LimitReached as limit:
        raise PairsmithError(f"no answer after {limit.what}") from None
    finally:
        if own:
            await doors.close()
    answer = read_response(answered.answer, pair.instruction)
    loss = answer.loss or ("same as before" if answer.output == pair.output else None)
    if loss is not None:
        await workspace.awrite(lambda conn: answered.close(conn, loss, answer.detail))
        detail = f" ({answer.detail})" if answer.detail else ""
        raise PairsmithError(
            f"{answered.name} gave no new response: {loss}{detail}", "Try again, or edit the pair"
        )

    def store(conn: sqlite3.Connection) -> int | PairsmithError:
        answered.close(conn)
        now = get_pair(conn, pair_id)
        asked = (pair.instruction, pair.input)
        try:
            version_id = add_model_version(
                conn,
                pair_id,
                answer.output,
                call_id=answered.call_id,
                instruction=pair.instruction,
                input=pair.input,
                choose=(now.instruction, now.input) == asked,
            )
        except (DuplicatePair, NoSuchPair) as error:
            return error  # not raised in here: the call was made, whatever becomes of its answer
        if (now.instruction, now.input) == asked:
            return version_id
        return PairsmithError(
            f"pair {pair_id} was edited meanwhile: the new response answers what it said before",
            "It is kept as a version beside the others",
        )

    stored = await workspace.awrite(store)
    if isinstance(stored, PairsmithError):
        raise stored
    return stored


def _read(conn: sqlite3.Connection, pair_id: int) -> tuple[Pair, str, str, str]:
    pair = get_pair(conn, pair_id)
    path = topic_paths(conn).get(pair.topic_id or 0, ())
    return pair, get_meta(conn, "recipe") or "", get_meta(conn, "domain") or "", path[-1] if path else ""
