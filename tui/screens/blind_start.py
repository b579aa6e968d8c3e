"""Before a blind rating: who rates, and whose answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pairsmith.pairs.blind import Contestant, Sheet, contestants, read_sheet
from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.ratings import RatingKind, rater_name

from ..widgets.line import Piece
from ..widgets.lines import Row
from .ask import FormScreen, Text
from .ask import Values as Typed
from .base import PlaceScreen
from .blind import BlindScreen, CompareScreen, GradeScreen
from .choose import ChooseScreen, Field, Values


async def rate_blind(place: PlaceScreen, train_run: int, kind: RatingKind) -> bool:
    """Ask what has to be asked, then let rate; whether any rating was given or taken back. Raises PairsmithError."""
    workspace = place.session.workspace
    if workspace is None:
        return False
    everybody = await workspace.aread(lambda conn: contestants(conn, train_run))
    if not everybody:
        raise UsageError("this run is not measured yet", "g measures it")
    if kind == "compare" and len(everybody) < 2:
        raise UsageError(
            "there are no other answers to compare with", "g measures the base too, a names another run"
        )
    rater = await ask_rater(place)
    if rater is None:
        return False
    chosen = await _choose(place, everybody, kind, rater)
    if chosen is None:
        return False
    await workspace.aread(lambda conn: read_sheet(conn, kind, chosen, rater, workspace.id))
    screen: BlindScreen = (CompareScreen if kind == "compare" else GradeScreen)(train_run, chosen, rater)
    await place.app.push_screen_wait(screen)
    return screen.changed


async def ask_rater(place: PlaceScreen) -> str | None:
    """The user's name as a rater, from the settings; asked for once. None where the box was left."""
    from pairsmith.pairs.user_settings import read_user_settings, save_user_settings

    env = place.session.env
    known = (await asyncio.to_thread(read_user_settings, env)).rater
    if known is not None:
        return rater_name(known)

    async def do(values: Typed) -> str | None:
        name = rater_name(values["rater"])
        await asyncio.to_thread(lambda: save_user_settings(env, rater=name))
        return None

    form = FormScreen(
        "Who rates?",
        [Text("rater", "name", hint="ratings are stored under it; 9 Settings changes it")],
        do,
    )
    if not await place.app.push_screen_wait(form):
        return None
    return (await asyncio.to_thread(read_user_settings, env)).rater


async def _choose(
    place: PlaceScreen, everybody: Sequence[Contestant], kind: RatingKind, rater: str
) -> Sequence[Contestant] | None:
    """Whose answers are rated with the run's own; asked only where there is a choice."""
    own, others = everybody[0], everybody[1:]
    options: list[tuple[str, Any]] = [(one.name, (own, one)) for one in others]
    if kind == "scale":
        options.append(("nobody: its own alone", (own,)))
    if len(options) == 1:
        chosen: Sequence[Contestant] = options[0][1]
        return chosen
    workspace = place.session.workspace
    assert workspace is not None

    def look(conn: sqlite3.Connection, with_them: Sequence[Contestant]) -> Sheet:
        return read_sheet(conn, kind, with_them, rater, workspace.id)

    async def summary(values: Values) -> Sequence[Row]:
        try:
            sheet = await workspace.aread(lambda conn: look(conn, values["with"]))
        except PairsmithError as error:
            return [(Piece(f"  {error}", "bad"),)]
        same = f", {sheet.same:,} answered alike and not asked" if sheet.same else ""
        return [(Piece(f"  {len(sheet.items):,} to rate, {sheet.done:,} of them done{same}", "quiet"),)]

    heading = f"Compare {own.name} with whom?" if kind == "compare" else f"Grade {own.name} and who else?"
    values = await place.app.push_screen_wait(
        ChooseScreen(heading, [Field("with", "with", options)], summary)
    )
    return None if values is None else values["with"]
