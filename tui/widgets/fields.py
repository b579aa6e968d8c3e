"""Fields to type in that neither obey nor lose what a text may hold."""

from __future__ import annotations

from textual.widgets import Input, TextArea
from textual.widgets.text_area import Edit, EditResult

from ..text import Mask, safe


class SafeArea(TextArea):
    """A text area over `Mask`: `stored` is the text as it goes to the store, byte for byte."""

    def __init__(self, text: str, mask: Mask, *, id: str | None = None) -> None:  # noqa: A002 - Textual's
        self._mask = mask
        super().__init__(
            mask.mask(text), id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus"
        )

    @property
    def stored(self) -> str:
        """What was typed, with what was hidden put back."""
        return self._mask.unmask(self.text)

    def edit(self, edit: Edit) -> EditResult:
        """Whatever comes in, pasted escapes too, is masked."""
        edit.text = self._mask.mask(edit.text)
        return super().edit(edit)


class SafeInput(Input):
    """An input whose pasted controls are shown, not obeyed."""

    DEFAULT_CSS = """
    SafeInput, SafeInput:focus { border: none; height: 1; padding: 0; background: $panel; }
    """

    def replace(self, text: str, start: int, end: int) -> None:
        """Whatever comes in is made harmless."""
        super().replace(safe(" ".join(text.split("\n")), 2000, 1), start, end)
