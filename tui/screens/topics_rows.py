"""The topics as lines: names, how many pairs each gets of the next run, what is there already, and the price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pairsmith.pairs.limits import Limits
from pairsmith.pairs.quota import share
from pairsmith.pairs.run_plan import RunPlan
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.runs import RunTopic
from pairsmith.pairs.store.topics import Topic

from ..text import fill, line
from ..widgets.line import Piece, spread
from ..widgets.lines import Row
from ..widgets.meters import bar
from ..widgets.pick_list import Entry
from .method import POOL, Way
from .planning import estimate_lines, limits_text


@dataclass(frozen=True, slots=True)
class Shares:
    """How the pairs of the next run are shared out: each leaf's share, and the sum of what is below a parent."""

    leaves: Mapping[int, int]
    sums: Mapping[int, int]

    @property
    def planned(self) -> int:
        """All of them."""
        return sum(self.leaves.values())


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a run in one topic: kept pairs, how many it shall be, and whether the topic gives nothing new any more."""

    kept: int = 0
    quota: int = 0
    dry: bool = False


def shares_of(topics: Sequence[Topic], asked: int) -> Shares:
    """As a run would deal them: by quotas where there are any, else evenly."""
    parents = {topic.parent_id for topic in topics}
    leaves = [topic for topic in topics if topic.id not in parents]
    dealt = share(asked, {topic.id: float(topic.quota or 0) for topic in leaves})
    above = {topic.id: topic.parent_id for topic in topics}
    sums: dict[int, int] = {}
    for leaf in leaves:
        at = above[leaf.id]
        while at is not None:
            sums[at] = sums.get(at, 0) + dealt[leaf.id]
            at = above.get(at)
    return Shares(dealt, sums)


def moved_share(shares: Mapping[int, int], topic_id: int, by: int) -> dict[int, int]:
    """The leaves' shares after one of them was changed; the others stay as they are."""
    changed = dict(shares)
    changed[topic_id] = max(0, changed[topic_id] + by)
    return changed


def step_of(share_now: int) -> int:
    """How much one key press changes a share: 1 for small ones, rounder for large ones."""
    return 1 if share_now < 20 else 5 if share_now < 100 else 10 if share_now < 1000 else 100


def progress_of(topics: Sequence[Topic], run: Sequence[RunTopic]) -> dict[int, Progress]:
    """How far a run is in each of these topics, parents with what is below them; empty where there is no run."""
    own = {one.topic_id: one for one in run}
    found = {topic.id: Progress() for topic in topics}
    above = {topic.id: topic.parent_id for topic in topics}
    for topic in topics:
        one = own.get(topic.id)
        if one is None:
            continue
        at: int | None = topic.id
        while at is not None:
            before = found[at]
            dry = one.exhausted and at == topic.id
            found[at] = Progress(before.kept + one.kept, before.quota + one.quota, dry)
            at = above.get(at)
    return found if own else {}


def topic_entries(
    topics: Sequence[Topic],
    shares: Shares,
    folded: frozenset[int],
    width: int,
    progress: Mapping[int, Progress] | None = None,
) -> list[Entry]:
    """One line for each topic that is not folded away; where a run is under way (`progress`), how far it is in each."""
    parents = {topic.parent_id for topic in topics}
    most = max([*shares.leaves.values(), *shares.sums.values()], default=1)
    hidden: set[int] = set()
    found: list[Entry] = []
    width -= 4
    name = min(44, max(20, width // 2))
    for topic in topics:
        if topic.parent_id in hidden or topic.parent_id in folded:
            hidden.add(topic.id)
            continue
        leaf = topic.id not in parents
        mark = "  " if leaf else "▸ " if topic.id in folded else "▾ "
        number = shares.leaves.get(topic.id, 0) if leaf else shares.sums.get(topic.id, 0)
        there = f"{topic.pairs:,} there" if topic.pairs else ""
        done, full = number, most
        if progress:
            now = progress.get(topic.id, Progress())
            done, full, number = now.kept, max(1, now.quota), now.quota
            there = f"{now.kept:,} of {now.quota:,}{' dry' if now.dry else ''}"
        end = 20 if progress else 12
        room = width - name - 9 - end
        meter = bar(done, full, max(5, room)) if topic.depth == 0 and room >= 6 else ""
        found.append(
            Entry(
                str(topic.id),
                (
                    (
                        Piece(fill(f"{'  ' * topic.depth}{mark}{line(topic.name, name)}", name)),
                        Piece(f"{number:>8,} "),
                        Piece(fill(meter, max(0, room)), "accent"),
                        Piece(f"{there:>{end}}", "quiet"),
                    ),
                ),
            )
        )
    return found


def head_rows(domain: str, asked: int, planned: int, way: Way | None, plan: RunPlan, width: int) -> list[Row]:
    """The domain and the numbers; and where the next run does not go by these topics, that."""
    numbers = f"asked {asked:,} · planned {planned:,} "
    about = line(domain, max(10, width - len(numbers) - 3))
    first = tuple(spread(width, [Piece(f" {about}", "strong")], [Piece(numbers, "quiet")]))
    if way is None or way.of(plan) != POOL:
        return [first, ()]
    said = f" The next run does not go by topics: {way.said(plan)} (M changes it, S shows them)"
    return [first, (Piece(line(said, width - 1), "accent"),)]


def price_rows(price: str, limits: Limits, width: int) -> list[Row]:
    """What the next run costs, as `said_estimate` says it, and its limits."""
    texts = estimate_lines(price.split(" limits: ")[0], width - 2)
    said = Piece(f" limits: {limits_text(limits)}", "quiet")
    change = "m changes " if limits != Limits() else "m sets some "
    return [
        *((Piece(f" {text}"),) for text in texts[:3]),
        tuple(spread(width, [said], [Piece(change, "accent")])),
    ]


def workspace_domain(conn: sqlite3.Connection) -> str:
    """What the workspace is about."""
    from pairsmith.pairs.store.meta import get_meta

    return get_meta(conn, "domain") or ""


def empty_entries() -> list[Entry]:
    """What stands in the place of a tree."""
    rows = [
        ((Piece("No topics yet.", "strong"),), ()),
        ((Piece("s  ", "accent"), Piece("the generator suggests some")),),
        ((Piece("+  ", "accent"), Piece("you name one")),),
        ((Piece("g  ", "accent"), Piece("generate does both: topics are suggested first")),),
    ]
    return [Entry(f"empty-{n}", entry, pickable=False) for n, entry in enumerate(rows)]
