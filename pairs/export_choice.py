"""Which pairs an export takes: by verdict and expression, equally many of every topic where that is wanted."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pairsmith.backends.text import one_line

from .chosen_pairs import NAMES, choose_pairs, count_verdicts_of
from .export_rows import count_preferences
from .export_settings import ExportSettings
from .splits import assign, store_sides, stored_sides, texts_to_split
from .store.driver import sqlite3
from .store.pair_rows import get_pairs
from .store.workspace import Workspace

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """Ids of the pairs, and how many were left out."""

    ids: Sequence[int]
    left_out: int
    balanced_out: int


def choose(conn: sqlite3.Connection, settings: ExportSettings) -> Choice:
    """The pairs that an export takes. Raises ExpressionError."""
    chosen = choose_pairs(conn, settings.verdict, settings.where, settings.judge)
    if not settings.balance_topics:
        return Choice(chosen.ids, chosen.left_out, 0)
    balanced = _balanced(conn, chosen.ids, settings.seed)
    return Choice(balanced, chosen.left_out, len(chosen.ids) - len(balanced))


def _balanced(conn: sqlite3.Connection, ids: Sequence[int], seed: int) -> list[int]:
    """As many pairs of each topic as the smallest has, drawn by the seed; pairs of no topic are one group."""
    groups: defaultdict[int | None, list[int]] = defaultdict(list)
    for start in range(0, len(ids), _BATCH):
        for pair in get_pairs(conn, ids[start : start + _BATCH]):
            groups[pair.topic_id].append(pair.id)
    if not groups:
        return []
    least = min(map(len, groups.values()))
    draw = random.Random(seed)
    taken = [draw.sample(groups[topic], least) for topic in sorted(groups, key=lambda t: (t is None, t or 0))]
    return sorted(pair_id for group in taken for pair_id in group)


def said(settings: ExportSettings) -> str:
    """Which pairs are wanted, as the end of "no pair is ..."."""
    which = {"any": "there", "accepted": "accepted", "not-rejected": "there that is not rejected"}[
        settings.verdict
    ]
    return which + (f" and has {one_line(settings.where)}" if settings.where else "")


def give_sides(workspace: Workspace, settings: ExportSettings, check: Callable[[], None]) -> None:
    """Give every chosen pair that has none a side of the workspace's split, for good (blocking)."""
    ids, stored = workspace.read(lambda conn: (choose(conn, settings).ids, stored_sides(conn)))
    if set(ids) - stored.keys():
        check()
        texts = workspace.read(lambda conn: texts_to_split(conn, [*ids, *stored]))
        fresh = assign(texts, stored)
        check()
        workspace.write(lambda conn: store_sides(conn, fresh))


@dataclass(frozen=True, slots=True)
class ExportPreview:
    """What an export would write, as in `ExportReport`."""

    pairs: int
    verdicts: dict[str, int]
    left_out: int
    balanced_out: int


def preview_export(workspace: Workspace, settings: ExportSettings) -> ExportPreview:
    """Choose as `export_pairs` would, and write nothing (blocking). Raises ExpressionError."""

    def look(conn: sqlite3.Connection) -> ExportPreview:
        choice = choose(conn, settings)
        if settings.format == "dpo":
            found = count_preferences(conn, choice.ids)
            verdicts = {name: found[name] for name in NAMES if name in found}
        else:
            verdicts = count_verdicts_of(conn, choice.ids)
        return ExportPreview(sum(verdicts.values()), verdicts, choice.left_out, choice.balanced_out)

    return workspace.read(look)
