"""Topics: the tree, what each gets of the next run, and what that run will cost, before anything is spent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.runs import RunTopic
from pairsmith.pairs.store.topics import (
    Topic,
    add_topic,
    list_topics,
    prune_topic,
    rename_topic,
    share_out,
)

from ..text import line
from ..widgets.lines import Lines, plain
from ..widgets.pick_list import PickList
from ..working import begin
from .ask import AskYes, FormScreen, Text, Values, whole_number
from .method import Way, may_begin, method_form
from .planning import limits_form, said_estimate
from .topics_rows import (
    Shares,
    empty_entries,
    head_rows,
    moved_share,
    price_rows,
    progress_of,
    shares_of,
    step_of,
    topic_entries,
    workspace_domain,
)
from .topics_suggest import suggest_form, usual_quota
from .undoing import UndoesActs

if TYPE_CHECKING:
    from ..job_state import JobState

PAINT_S = 0.5
KEEP_AFTER_S = 0.4
"""How long the arrows rest before the shares they made are kept, as one act."""


class TopicsScreen(UndoesActs):
    """See the module."""

    PLACE = "topics"
    LIST = "tree"
    CSS = """
    TopicsScreen #head { height: 2; margin: 1 0 0 0; }
    TopicsScreen #price { height: 4; margin: 1 0 0 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("plus,a", "add(False)", "add", key_display="+", id="topics.add", tooltip="Add a topic beside this one"),
        Binding("i", "add(True)", "add inside", show=False, id="topics.inside", tooltip="Add a topic inside this one"),
        Binding("enter", "rename", "rename", id="topics.rename", tooltip="Give the topic another name"),
        Binding("x", "prune", "prune", id="topics.prune", tooltip="Take it out with all below it; its pairs stay"),
        Binding("right,l", "quota(1)", "more", key_display="→", show=False, id="topics.more", tooltip="A larger quota"),
        Binding("left,h", "quota(-1)", "quota", key_display="←/→", id="topics.less", tooltip="Change the quota"),
        Binding("equals_sign", "even", "even", key_display="=", show=False, id="topics.even", tooltip="Equal quotas"),
        Binding("n", "number", "number", id="topics.number", tooltip="How many pairs the next run makes"),
        Binding("s", "suggest", "suggest", id="topics.suggest", tooltip="Let the generator suggest more topics"),
        Binding("g", "generate", "generate", id="topics.generate", tooltip="Start the run that is described below"),
        Binding("m", "limits", "limits", show=False, id="topics.limits", tooltip="Most calls, tokens, money and time"),
        Binding("M", "method", "method", show=False, id="topics.method",
                tooltip="How the next run finds instructions: by topics, or Self-Instruct from seed tasks"),
        Binding("S", "seeds", "seeds", show=False, id="topics.seeds",
                tooltip="The seed tasks that Self-Instruct starts from"),
        Binding("space", "fold", "fold", show=False, id="topics.fold", tooltip="Hide or show what is below a topic"),
        Binding("u", "undo(True)", "undo", show=False, id="topics.undo", tooltip="Take the last act back"),
        Binding("U", "undo(False)", "redo", show=False, id="topics.redo", tooltip="Do again what was undone"),
        Binding("j,down", "move(1)", "next", show=False, id="topics.next", tooltip="The next topic"),
        Binding("k,up", "move(-1)", "previous", show=False, id="topics.previous", tooltip="The topic before"),
        Binding("pagedown", "move(10)", "on", show=False, id="topics.on", tooltip="Ten topics on"),
        Binding("pageup", "move(-10)", "back", show=False, id="topics.back", tooltip="Ten topics back"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.topics: Sequence[Topic] = ()
        self.plan = RunPlan()
        self.shares = Shares({}, {})
        self._price = "…"
        self._folded: frozenset[int] = frozenset()
        self._pending: dict[int, int] | None = None
        self._kept_at = 0
        self._storing = asyncio.Lock()
        """Shares are kept after an undo has brought its own back, not in the middle of it."""
        self._domain = ""
        self._way: Way | None = None
        self._asking = False
        self._put_away: JobState | None = None
        self._painted = -1

    def body(self) -> Iterable[Widget]:
        """Domain and numbers; the tree; the price."""
        yield Lines(id="head")
        yield PickList(id="tree")
        yield Lines(id="price")

    @property
    def current(self) -> Topic | None:
        """The topic under the cursor."""
        here = self.list.current
        return next((topic for topic in self.topics if str(topic.id) == here), None)

    @property
    def text(self) -> str:
        """What is on the screen, for tests."""
        head, price = (plain(self.query_one(name, Lines).rows) for name in ("#head", "#price"))
        return "\n".join([head, self.list.text, price])

    def on_mount(self) -> None:
        """While a run is under way its bars fill."""
        self.set_interval(PAINT_S, self._tick)

    def _tick(self) -> None:
        state = self.application.jobs.state
        if (
            self.is_current
            and state is not None
            and state.kind == "generate"
            and state.version != self._painted
        ):
            self._painted = state.version
            if state.over:
                begin(self, self.read, group="read")
            else:
                self.paint()

    @property
    def _under_way(self) -> Sequence[RunTopic]:
        """The topics of the run of now, and of the last one until something is changed for the next."""
        jobs = self.application.jobs
        state = jobs.state
        if state is None or state.kind != "generate" or (state is self._put_away and not jobs.running):
            return ()
        return state.topics

    def on_screen_resume(self) -> None:
        """Others may have changed the tree."""
        super().on_screen_resume()
        begin(self, self.read, group="read")

    def show_session(self) -> None:
        """Another generator has another price."""
        super().show_session()
        if self.is_mounted and self.is_current:
            begin(self, self._read_price, group="price")

    async def read(self) -> None:
        """Read tree and plan, then the price."""
        await self._read(self._kept_at)

    async def _read(self, kept_at: int, before: Mapping[int, int] | None = None) -> None:
        """Read anew; what the arrows made since `kept_at` is not stored yet, and stays.

        `before`: the shares at that time, where others are stored now: then only those that the arrows changed stay.
        """
        workspace = self.session.workspace
        if workspace is None:
            return
        try:
            self.topics, self.plan = await workspace.aread(lambda conn: (list_topics(conn), read_plan(conn)))
            self._domain, self._way = await workspace.aread(
                lambda conn: (workspace_domain(conn), Way.read(conn))
            )
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return
        self.shares = shares_of(self.topics, self.plan.pairs)
        if self._pending is not None and self._kept_at != kept_at:
            made = dict(self._pending.items() - (before or {}).items())
            self._pending = {leaf: made.get(leaf, now) for leaf, now in self.shares.leaves.items()}
            self._show_pending()
        else:
            self._pending = None
            self.paint()
        begin(self, self._read_price, group="price")

    async def _read_price(self) -> None:
        if self.session.workspace is None:
            return
        try:
            self._price = await said_estimate(self.session, replace(self.plan, pairs=max(1, self._asked)))
        except (PairsmithError, BackendError) as error:
            self._price = str(error)
        self.paint()

    @property
    def _asked(self) -> int:
        return sum(self._pending.values()) if self._pending is not None else self.plan.pairs

    def paint(self) -> None:
        """Paint all three."""
        head, price = self.query_one("#head", Lines), self.query_one("#price", Lines)
        width = head.size.width
        if not width:
            return
        planned = self.shares.planned if self.topics else self.plan.pairs
        head.show_rows(head_rows(self._domain, self._asked, planned, self._way, self.plan, width))
        if self.topics:
            # Shares that are being changed are those of the next run.
            progress = progress_of(self.topics, self._under_way) if self._pending is None else {}
            self.list.show_entries(topic_entries(self.topics, self.shares, self._folded, width, progress))
        else:
            self.list.show_entries(empty_entries())
        price.show_rows(price_rows(self._price, self.plan.limits, width))

    def action_fold(self) -> None:
        """Hide or show what is below."""
        topic = self.current
        if topic is not None and any(other.parent_id == topic.id for other in self.topics):
            self._folded = self._folded ^ {topic.id}
            self.paint()

    def action_add(self, inside: bool) -> None:
        """Ask for a name."""
        topic = self.current
        parent = None if topic is None else topic.id if inside else topic.parent_id

        async def do(values: Values) -> str | None:
            name = values["name"]
            quota = usual_quota(self.topics)
            await self._write(lambda conn: add_topic(conn, name, parent_id=parent, quota=quota))
            return None

        above = next((other.name for other in self.topics if other.id == parent), None)
        where = f"A new topic inside {line(above, 40)}" if above is not None else "A new topic"
        self.app.push_screen(FormScreen(where, [Text("name", "name")], do))

    def take(self) -> None:
        """Rename."""
        self.action_rename()

    def action_rename(self) -> None:
        """Ask for another name."""
        topic = self.current
        if topic is None:
            return

        async def do(values: Values) -> str | None:
            await self._write(lambda conn: rename_topic(conn, topic.id, values["name"]))
            return None

        self.app.push_screen(FormScreen("Another name", [Text("name", "name", topic.name)], do))

    def action_prune(self) -> None:
        """Take a topic out."""
        if self.current is not None:
            begin(self, self._prune, self.current, group="prune")

    async def _prune(self, topic: Topic) -> None:
        deep = len(topic.path)
        below = sum(len(other.path) > deep and other.path[:deep] == topic.path for other in self.topics)
        if below and not await self.app.push_screen_wait(
            AskYes(
                f"Take out {line(topic.name, 50)}?",
                [f"{below} topics are below it. Pairs stay; u takes it back."],
            )
        ):
            return
        with contextlib.suppress(PairsmithError):
            await self._write(lambda conn: prune_topic(conn, topic.id))
            self.notify(f"Took out {topic.name} · u takes it back")

    def action_quota(self, sign: int) -> None:
        """Change a leaf's share at once; what the arrows made is kept when they rest."""
        topic = self.current
        if topic is None or topic.id not in self.shares.leaves:
            if topic is not None:
                self.notify("Its topics have the quotas: go to one of them")
            return
        now = self.shares.leaves[topic.id]
        by = step_of(now if sign > 0 else max(0, now - 1)) * sign
        self._pending = moved_share(self.shares.leaves, topic.id, by)
        self._show_pending()
        self._kept_at += 1
        turn = self._kept_at
        self.set_timer(KEEP_AFTER_S, lambda: self._keep_soon(turn))

    def action_even(self) -> None:
        """Equal quotas."""
        leaves = dict.fromkeys(self.shares.leaves)
        if leaves:
            begin(self, self._share_out, leaves, None, group="keep")

    def action_undo(self, back: bool) -> None:
        """Undo or redo the last act; what the arrows make meanwhile stays."""
        before = dict(self._pending or self.shares.leaves)
        begin(self, self._undo_under, back, self._kept_at, before, group="undo")

    async def _undo_under(self, back: bool, kept_at: int, before: Mapping[int, int]) -> None:
        async with self._storing:
            if await self.take_back(back):
                await self._read(kept_at, before)

    def _show_pending(self) -> None:
        assert self._pending is not None
        topics = [replace(topic, quota=self._pending.get(topic.id, topic.quota)) for topic in self.topics]
        self.topics = topics
        self.shares = shares_of(topics, self._asked)
        self.paint()

    def _keep_soon(self, turn: int) -> None:
        if turn == self._kept_at and self._pending is not None:
            begin(self, self._keep, group="keep")

    async def _keep(self) -> None:
        async with self._storing:
            if self._pending is not None:
                await self._share_out(dict(self._pending), max(1, sum(self._pending.values())))

    async def _share_out(self, quotas: dict[int, int | None], pairs: int | None) -> None:
        plan = self.plan if pairs is None else replace(self.plan, pairs=pairs)

        def store(conn: sqlite3.Connection) -> None:
            share_out(conn, quotas)
            write_plan(conn, plan)

        with contextlib.suppress(PairsmithError):
            await self._write(store, over_arrows=pairs is None)

    def action_number(self) -> None:
        """Ask how many pairs."""

        async def do(values: Values) -> str | None:
            pairs = whole_number(values["pairs"], "The number of pairs")
            plan = replace(self.plan, pairs=pairs)
            await self._write(lambda conn: write_plan(conn, plan))
            return None

        async def say(values: Values) -> str:
            pairs = whole_number(values["pairs"], "The number of pairs")
            return await said_estimate(self.session, replace(self.plan, pairs=pairs))

        fields = [Text("pairs", "pairs", str(self.plan.pairs))]
        self.app.push_screen(FormScreen("How many pairs shall the next run make?", fields, do, say=say))

    def action_limits(self) -> None:
        """Ask for limits."""

        async def keep(plan: RunPlan) -> None:
            await self._write(lambda conn: write_plan(conn, plan))

        self.app.push_screen(limits_form(self.plan, keep))

    def action_method(self) -> None:
        """Ask how the next run finds instructions."""

        async def keep(plan: RunPlan) -> None:
            await self._write(lambda conn: write_plan(conn, plan))

        if self._way is not None:
            self.app.push_screen(method_form(self.session, self.plan, self._way, keep))

    def action_seeds(self) -> None:
        """Look at the seed tasks."""
        from .seeds import SeedsScreen

        self.app.push_screen(SeedsScreen("topics"))

    def action_suggest(self) -> None:
        """Ask the generator for more topics."""
        self.app.push_screen(suggest_form(self))

    def action_generate(self) -> None:
        """Start the run."""
        begin(self, self._generate, group="generate")

    async def _generate(self) -> None:
        if self.application.jobs.running:
            await self.application.action_place("generate")
            return
        if self._pending is not None:
            await self._keep()
        try:
            if not await may_begin(self.application, self.plan):
                return
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return
        self.application.jobs.start_generate(self.plan)
        await self.application.action_place("generate")

    async def _write(
        self, work: Callable[[sqlite3.Connection], object], *, over_arrows: bool = False
    ) -> None:
        """Write, say what does not work, read again; arrows pressed meanwhile stay, but where this sets all shares.

        Raises PairsmithError after saying it.
        """
        workspace = self.session.workspace
        assert workspace is not None
        self._put_away = self.application.jobs.state
        kept_at = self._kept_at
        try:
            await workspace.awrite(work)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            raise
        finally:
            await self._read(self._kept_at if over_arrows else kept_at)
