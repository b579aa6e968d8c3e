"""What every place has in common: the lines around it, and how it learns of changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from ..session import Session
from ..widgets.bars import WIDE, KeyBar, PlacesBar, TopBar, TourBar

if TYPE_CHECKING:
    from ..app import PairsmithApp


class PlaceScreen(Screen[None]):
    """A place. Say `PLACE`, write `body`, declare `BINDINGS` with ids and tooltips (they are the help's sentences).

    `show=True` puts a binding into the last line. Under 100 columns the screen has the class `narrow`, else `wide`.
    """

    PLACE: ClassVar[str] = ""
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (WIDE, "wide")]  # noqa: RUF012 - Textual's own declaration

    def compose(self) -> ComposeResult:
        """The chrome and the body."""
        yield TopBar()
        yield PlacesBar(self.PLACE)
        yield from self.body()
        yield TourBar()
        yield KeyBar()

    def body(self) -> Iterable[Widget]:
        """The widgets between line 2 and the last line."""
        return ()

    @property
    def application(self) -> PairsmithApp:
        """The application, by its own type."""
        return cast("PairsmithApp", self.app)

    @property
    def session(self) -> Session:
        """The application's state."""
        return self.application.session

    def paint(self) -> None:
        """Draw what is known (the place's own)."""

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self.paint()

    def show_session(self) -> None:
        """Paint lines 1 and 2 again after the session changed."""
        for bar in (*self.query(TopBar), *self.query(PlacesBar)):
            bar.refresh()
        for strip in self.query(TourBar):
            strip.show_tour()

    def on_screen_resume(self) -> None:
        """News of a place that is looked at are no news."""
        self.session.news.discard(self.PLACE)
        self.show_session()
