"""Editing, regenerating, and looking through the versions of a pair with a word diff."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from pairsmith.pairs.store.pair_rows import Version, get_pair, get_versions

from ..text import safe, wrap_safe
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.scores import age
from .review_base import ReviewBase

if TYPE_CHECKING:
    from pairsmith.pairs.store.review_rows import ReviewRow

    from .edit_pair import Texts

_DIFFED = 20_000
_WORD = re.compile(r"\s*\S+\s*|\s+")


class Versions(ReviewBase):
    """e E g v x."""

    def __init__(self) -> None:
        super().__init__()
        self._versions: list[Version] = []
        self._version = 0

    async def changed(self, pair_id: int | None) -> None:
        """Show what changed (the screen's)."""
        raise NotImplementedError

    @property
    def looking(self) -> bool:
        """Whether a version is on the screen instead of the pair."""
        return bool(self._versions)

    def left_pair(self) -> None:
        """Another pair: its chosen version is shown."""
        self._versions = []

    def paint_pair(self) -> None:
        """The version under the eyes, else the pair."""
        if not self._versions or self.current is None:
            super().paint_pair()
            return
        width, height = self.pane.size
        head, body = version_rows(self._versions, self._version, self.current.version_id, width)
        room = max(1, height - len(head))
        self._most = max(0, len(body) - room)
        self.scrolled = min(self.scrolled, self._most)
        self.pane.show_rows([*head, *body[self.scrolled : self.scrolled + room]])

    def action_edit(self) -> None:
        """Edit in place."""
        self.start(self._edit())

    async def _edit(self) -> None:
        from .edit_pair import EditScreen

        row = self._to_edit()
        if row is None:
            return
        texts = await self._texts(row.id)
        if not texts.small:
            self.say_plain("This text is too long to edit here: E opens it in your editor")
            return

        async def keep(typed: Texts) -> None:
            await self._store_edit(row.id, typed)

        def edited(typed: Texts | None) -> None:
            if typed is not None:
                self.start(self._show_edit(row.id))

        self.app.push_screen(EditScreen(row.id, texts, keep), edited)

    def _to_edit(self) -> ReviewRow | None:
        """The pair on the screen where it may be edited; else says why not."""
        row = self.current
        if row is None:
            self.say_plain("There is no pair here to edit")
        elif self.workspace.readonly:
            self.complain("this workspace is open for reading only")
            return None
        return row

    async def _texts(self, pair_id: int) -> Texts:
        from .edit_pair import Texts

        pair = await self.workspace.aread(lambda conn: get_pair(conn, pair_id))
        return Texts(pair.instruction, pair.input, pair.output)

    async def _store_edit(self, pair_id: int, texts: Texts) -> None:
        from pairsmith.pairs.store.edits import edit_pair

        await self.workspace.awrite(
            lambda conn: edit_pair(
                conn, pair_id, instruction=texts.instruction, input=texts.input, output=texts.output
            )
        )

    async def _show_edit(self, pair_id: int) -> None:
        self._versions = []
        await self.changed(pair_id)
        self.say_plain(f"#{pair_id:03} edited, undecided again · v compares · u takes it back")

    def action_copy(self) -> None:
        """The whole response to the clipboard."""
        self.start(self._copy())

    async def _copy(self) -> None:
        row = self.current
        if row is None:
            self.say_plain("There is no pair here to copy")
            return
        texts = await self._texts(row.id)
        self.app.copy_to_clipboard(texts.output)
        self.say_plain(
            f"the response of #{row.id:03} was sent to the clipboard: {len(texts.output):,} characters"
        )

    def action_external(self) -> None:
        """Edit in $EDITOR."""
        self.start(self._external())

    async def _external(self) -> None:
        from .external_editor import edit_outside

        row = self._to_edit()
        if row is None:
            return
        before = await self._texts(row.id)

        async def keep(after: Texts) -> None:
            await self._store_edit(row.id, after)

        if await edit_outside(self.app, before, self.session.env, keep):
            await self._show_edit(row.id)
        else:
            self.say_plain("Nothing was changed")

    def action_again(self) -> None:
        """Ask the generator for another response; both versions are kept."""
        row = self.current
        if row is None:
            self.say_plain("There is no pair here to regenerate")
        elif row.id in self._asking:
            self.say_plain(f"#{row.id:03} is being regenerated already")
        elif self.workspace.readonly:
            self.complain("this workspace is open for reading only")
        else:
            self._asking.add(row.id)
            self.say_plain(f"#{row.id:03}: asking {self.session.generator} …")
            self.start(self._again(row.id))

    async def _again(self, pair_id: int) -> None:
        from pairsmith.pairs.regenerate import regenerate

        try:
            settings = await self.session.backend_settings()
            await regenerate(self.workspace, pair_id, settings, generator=self.session.generator)
        finally:
            self._asking.discard(pair_id)
            self.paint_status()
        row = self.current
        if row is not None and row.id == pair_id:
            await self.changed(pair_id)
            self.say_plain(f"#{pair_id:03} has a new response · v compares, x chooses · u takes it back")
        else:
            await self.queue.refresh([pair_id])
            self.list.refresh()
            self.say_plain(f"#{pair_id:03} has a new response")

    def action_versions(self) -> None:
        """The version before the one on the screen, then the others in turn."""
        row = self.current
        if row is None or row.versions < 2:
            self.say_plain("There is one version only: e or g makes another")
            return
        if self._versions:
            self._version = (self._version - 1) % len(self._versions)
            self.scrolled = 0
            self.paint_pair()
            return
        self.start(self._look(row.id, row.version_id))

    async def _look(self, pair_id: int, chosen: int) -> None:
        versions = await self.workspace.aread(lambda conn: get_versions(conn, pair_id))
        row = self.current
        if row is None or row.id != pair_id or len(versions) < 2:
            return
        at = next((n for n, version in enumerate(versions) if version.id == chosen), len(versions) - 1)
        self._versions, self._version, self.scrolled = versions, at, 0
        self.paint_pair()

    def action_choose(self) -> None:
        """Make the version on the screen the one that counts."""
        row = self.current
        if row is None or not self._versions:
            self.say_plain("v shows the versions first; x then chooses the one on the screen")
            return
        version = self._versions[self._version]
        if version.id == row.version_id:
            self.say_plain(f"version {version.number} counts already")
            return
        self.start(self._choose(row.id, version))

    async def _choose(self, pair_id: int, version: Version) -> None:
        from pairsmith.pairs.store.edits import choose_version

        await self.workspace.awrite(lambda conn: choose_version(conn, pair_id, version.id))
        self._versions = []
        await self.changed(pair_id)
        self.say_plain(f"version {version.number} of #{pair_id:03} counts now · u takes it back")

    def action_back(self) -> None:
        """From the versions back to the pair."""
        self._versions = []
        self.scrolled = 0
        self._said = None
        self.paint()
        if not asyncio.get_running_loop().is_closed():
            self.list.refresh()


def version_rows(
    versions: Sequence[Version], at: int, chosen: int, width: int
) -> tuple[list[Row], list[Row]]:
    """A version with what changed since the one before it: heading, and text with added and removed words marked."""
    version, before = versions[at], versions[at - 1] if at else None
    counts = "the one that counts" if version.id == chosen else "x makes it count"
    compared = f"compared with version {before.number}" if before else "the first version"
    head: list[Row] = [
        (
            Piece(f" version {version.number} of {len(versions)}", "strong"),
            Piece(f" · {version.maker}, {age(version.created_at)} · {compared} · {counts}", "quiet"),
        ),
        (),
    ]
    body: list[Row] = []
    for name in ("instruction", "input", "output"):
        new = getattr(version, name)
        old = getattr(before, name) if before else new
        if not new and not old:
            continue
        label = "response" if name == "output" else name
        body += [
            (Piece(f" {label}", "quiet"), Piece("" if old != new or not before else "  unchanged", "quiet"))
        ]
        body += diff_rows(old[:_DIFFED], new[:_DIFFED], width - 4)
        body.append(())
    return head, body


_MARK = {"added": ("{+", "+}", "good"), "removed": ("[-", "-]", "bad"), "same": ("", "", "")}


def diff_rows(before: str, after: str, width: int) -> list[Row]:
    """The newer text with {+added+} and [-removed-] words, wrapped; marks, not colour alone."""
    from pairsmith.pairs.word_diff import word_diff

    rows: list[list[Piece]] = [[Piece("  ")]]
    used = 0
    for change in word_diff(before, after):
        opening, closing, style = _MARK[change.kind]
        text = opening + safe(change.text) + closing
        for number, part in enumerate(text.split("\n")):
            if number:
                rows.append([Piece("  ")])
                used = 0
            while part:
                fitting = _fitting(part, width - used)
                if not fitting and used:
                    rows.append([Piece("  ")])
                    used = 0
                    continue
                fitting = fitting or _forced(part, width)
                rows[-1].append(Piece(fitting, style))
                used += cell_len(fitting)
                part = part[len(fitting) :]
    return [tuple(row) for row in rows]


def _fitting(text: str, room: int) -> str:
    """The words of the beginning that fit; empty where not even the first one does."""
    end = used = 0
    for match in _WORD.finditer(text):
        word = match[0].rstrip()
        used += cell_len(word)
        if used > room:
            break
        space = min(len(match[0]) - len(word), room - used)
        used += space
        end = match.start() + len(word) + space
        if end < match.end():
            break
    return text[:end]


def _forced(text: str, room: int) -> str:
    """At least one character, at most what fits."""
    return text[: len(wrap_safe(text[: 2 * room], max(4, room))[0].rstrip()) or 1]
