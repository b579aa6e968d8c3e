"""What a training run begins with: its pairs and their sides, or the unfinished run that it goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from pairsmith.backends.text import one_line

from .chosen_pairs import choose_pairs, count_verdicts_of
from .errors import PairsmithError, UsageError
from .splits import Side, assign, parity_sides, stored_sides, texts_to_split
from .store.driver import sqlite3
from .store.runs import Run, get_run, list_runs, unfinished_run
from .store.workspace import Workspace
from .training_settings import TrainSettings

_OPEN_STATES = ("running", "paused", "unfinished")


@dataclass(frozen=True, slots=True)
class Choice:
    """The pairs of a run with their sides, and what their verdicts are."""

    sides: Mapping[int, Side]
    fresh: Mapping[int, Side]
    verdicts: Mapping[str, int]

    def counts(self) -> dict[str, int]:
        """Pairs by side."""
        return {side: list(self.sides.values()).count(side) for side in ("train", "validation", "test")}


async def choose_and_split(workspace: Workspace, settings: TrainSettings, judge: str | None) -> Choice:
    """The pairs of a run and their sides; nothing is stored yet. Raises PairsmithError where none is to train on."""

    def choose(conn: sqlite3.Connection) -> tuple[list[int], dict[str, int], dict[int, Side]]:
        chosen = choose_pairs(conn, settings.verdict, settings.where, judge)
        ids = list(chosen.ids)
        return ids, count_verdicts_of(conn, ids), stored_sides(conn)

    ids, verdicts, stored = await workspace.aread(choose)
    if not ids:
        what = "accepted" if settings.verdict == "accepted" else "that is not rejected"
        where = f" and has {one_line(settings.where)}" if settings.where else ""
        raise PairsmithError(
            f"there is no pair {what}{where} to train on",
            "Generate or import some; --verdict and --where say what is taken",
        )
    if settings.config.get("parity"):
        sides, fresh = parity_sides(ids), {}
    elif set(ids) - stored.keys():
        texts = await workspace.aread(lambda conn: texts_to_split(conn, [*ids, *stored]))
        fresh = await asyncio.to_thread(assign, texts, stored)
        stored |= fresh
        sides = {pair: stored[pair] for pair in ids}
    else:
        sides, fresh = {pair: stored[pair] for pair in ids}, {}
    if "train" not in sides.values():
        raise PairsmithError(
            f"none of the {len(ids)} chosen pairs is on the training side of the split", "Choose more of them"
        )
    return Choice(sides, fresh, verdicts)


def find_unfinished(conn: sqlite3.Connection, settings: TrainSettings | None) -> Run:
    """The newest run that can be gone on with, of these settings where they are given. Raises UsageError."""
    still_open = [run for run in list_runs(conn, "train") if run.state in _OPEN_STATES]
    if settings is None:
        if still_open:
            return still_open[0]
        raise UsageError("there is no unfinished training run", "Start one without --resume")
    run_id = unfinished_run(conn, "train", settings.identity())
    if run_id is not None:
        return get_run(conn, run_id)
    others = ", ".join(str(run.id) for run in still_open[:5])
    raise UsageError(
        "there is no unfinished training run with these settings",
        f"Unfinished with others: run {others}; --resume alone goes on with the newest"
        if others
        else "Start one without --resume",
    )
