"""Line 1 (application, workspace, generator → judge, job), line 2 (places), the last line (keys, or a notice)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.binding import Binding
from textual.screen import Screen

from ..places import PLACES
from ..session import JobLine, Session
from ..text import line, safe
from .line import Line, Piece, spread

if TYPE_CHECKING:
    from ..app import PairsmithApp

WIDE = 100
"""Columns from which things stand side by side."""
NOTICE_S = 6.0


class TopBar(Line):
    """Line 1, the same everywhere."""

    def pieces(self, width: int) -> Sequence[Piece]:
        """Application, workspace; generator → judge; job."""
        session = cast("PairsmithApp", self.app).session
        wide = width >= WIDE
        job = _job_text(session.job, wide=wide)
        room = width - len(job) - 16
        path = session.path or session.opening
        name = line(path.name if path else "no workspace", max(12, room // 3))
        makers = _makers_text(session, max(12, room - len(name) - 2))
        left = [Piece(" Pairsmith", "strong"), Piece("  "), Piece(name)]
        right = [Piece(job, "accent"), Piece(" ")]
        return spread(width, left, [Piece(makers, "quiet")], right)


def _job_text(job: JobLine | None, *, wide: bool) -> str:
    if job is None:
        return ""
    mark = "Ⅱ" if job.paused else "▶"
    numbers = f" {job.done:,}/{job.total:,}" if job.done is not None and job.total is not None else ""
    name = line(job.name, 40)
    if wide:
        return f"{mark} {name}{numbers}" + (f" · {line(job.left, 20)} left" if job.left else "")
    return f"{mark} {numbers.strip() or name}" + (f" {line(job.left, 8)}" if job.left else "")


def _makers_text(session: Session, room: int) -> str:
    generator, judge = session.generator, session.judge
    backend, _, model = generator.partition(":")
    same = judge is not None and judge.startswith(f"{backend}:")
    shown = judge.partition(":")[2] if judge is not None and same else judge or "no judge"
    each = max(5, (room - 3) // 2)
    first = line(f"{backend}:{model.rsplit('/', 1)[-1]}", max(each, room - 3 - len(shown)))
    return f"{first} → {line(shown.rsplit('/', 1)[-1], max(each, room - 3 - len(first)))}"


class PlacesBar(Line):
    """Line 2: the places, the present one in brackets, a dot where there is news."""

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def pieces(self, width: int) -> Sequence[Piece]:
        """One piece for each place."""
        news = cast("PairsmithApp", self.app).session.news
        wide = width >= WIDE
        found: list[Piece] = []
        # There is room for eight names; in the ninth place the two before it lose theirs.
        last = not wide and self._here == "settings"
        for number, place in enumerate(PLACES):
            if place.id == "settings" and not wide and not last and len(PLACES) > 8:
                continue
            dot = (" •" if wide else "•") if place.id in news else ""
            name = "" if last and place.key in "78" else f" {place.name}"
            label = f"{place.key}{name}{dot}"
            gap = "  " if wide and number else " "
            if place.id == self._here:
                found += [Piece(gap[1:] if number else ""), Piece(f"[{label}]", "here")]
            else:
                closed = found and found[-1].style == "here"
                found.append(Piece(gap[1:] if closed else gap))
                found.append(Piece(label, "quiet", f"app.place('{place.id}')"))
        return found


class TourBar(Line):
    """The strip of the guided tour over the last line: which step, what to press, how far. Not there without a tour."""

    DEFAULT_CSS = "TourBar { height: 1; display: none; } TourBar.-on { display: block; }"

    def on_mount(self) -> None:
        """There or not."""
        self.show_tour()

    def show_tour(self) -> None:
        """Show how far the tour is now."""
        self.set_class(cast("PairsmithApp", self.app).session.tour is not None, "-on")
        self.refresh()

    def pieces(self, width: int) -> Sequence[Piece]:
        """One sentence; a click shows all steps."""
        tour = cast("PairsmithApp", self.app).session.tour
        if tour is None:
            return ()
        end = " ctrl+t shows all "
        step = tour.present
        if step is None:
            text = f" Tour: all {len(tour.steps)} steps are done "
            return [Piece(line(text, width - len(end)), "here", "app.tour"), Piece(end, "quiet", "app.tour")]
        head = f" Tour {tour.number}/{len(tour.steps)}: "
        said = f"{step.title} · {step.how}"
        room = width - len(head)
        if tour.said:
            said = f"{step.title} ({tour.said}) · {step.how}"
        rest = [Piece(end, "quiet", "app.tour")] if len(said) + len(end) <= room else []
        return [Piece(head, "here", "app.tour"), Piece(line(said, room), "accent", "app.tour"), *rest]


class KeyBar(Line):
    """The last line: the keys that matter here. A notice takes its place for a few seconds."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._notice: Piece | None = None

    def on_mount(self) -> None:
        """Follow the bindings of the screen."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, _screen: Screen[object]) -> None:
        if self.is_attached and self.screen is self.app.screen:
            self.refresh()

    def notice(self, text: str, severity: str = "information", seconds: float = NOTICE_S) -> None:
        """Say something without covering anybody's work."""
        style = {"error": "bad", "warning": "accent"}.get(severity, "strong")
        mark = {"error": "✗ ", "warning": "! "}.get(severity, "")
        self._notice = Piece(f" {mark}{text}", style)
        self.refresh()
        shown = self._notice
        self.set_timer(seconds, lambda: self._forget(shown))

    @property
    def noticed(self) -> str:
        """The notice on the screen now; empty where there is none."""
        return self._notice.text.strip() if self._notice else ""

    def _forget(self, shown: Piece) -> None:
        if self._notice is shown:
            self._notice = None
            self.refresh()

    def pieces(self, width: int) -> Sequence[Piece]:
        """As many keys as fit; `?`, which shows all of them, always does."""
        if self._notice is not None:
            return [Piece(line(self._notice.text, width - 1), self._notice.style)]
        found: list[Piece] = []
        rest = [Piece(" "), Piece("?", "accent", "app.keys"), Piece(" all")]
        used = 2
        for binding in footer_bindings(self.screen):
            key, label = self.app.get_key_display(binding), safe(binding.description, 30)
            size = len(key) + len(label) + 3
            if used + size > width:
                break
            used += size
            found += [
                Piece(" "),
                Piece(key, "accent", binding.action),
                Piece(f" {label} ", "", binding.action),
            ]
        return [*found, *(rest if used + len(rest[2].text) <= width else rest[:2])]


def footer_bindings(screen: Screen[object]) -> list[Binding]:
    """The bindings that the last line shows, in the order in which the screen declares them, one for each action."""
    order = [binding.action for bindings in screen._bindings.key_to_bindings.values() for binding in bindings]
    found: dict[str, Binding] = {}
    for active in screen.active_bindings.values():
        if active.node is screen and active.binding.show and active.enabled:
            found.setdefault(active.binding.action, active.binding)
    return sorted(found.values(), key=lambda binding: order.index(binding.action))
