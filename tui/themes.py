"""Our themes: dark, light and high contrast. Textual's own stay available beside them."""

from __future__ import annotations

from collections.abc import Mapping

from textual.color import Color
from textual.theme import Theme

DARK = Theme(
    name="pairsmith-dark",
    primary="#7aa2f7",
    secondary="#7aa2f7",
    accent="#7aa2f7",
    foreground="#d5d9e0",
    background="#14161b",
    surface="#1c1f26",
    panel="#23272f",
    success="#8fce7e",
    warning="#e5b567",
    error="#ef7b7b",
    dark=True,
)
LIGHT = Theme(
    name="pairsmith-light",
    primary="#1f5fbf",
    secondary="#1f5fbf",
    accent="#1f5fbf",
    foreground="#1d2129",
    background="#fbfbf9",
    surface="#f1f1ee",
    panel="#e6e6e2",
    success="#2c7a1f",
    warning="#8a5a00",
    error="#b3261e",
    dark=False,
)
CONTRAST = Theme(
    name="pairsmith-contrast",
    primary="#ffff00",
    secondary="#ffff00",
    accent="#ffff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#262626",
    success="#00ff00",
    warning="#ffaf00",
    error="#ff8080",
    dark=True,
    variables={"text-muted": "#ffffff"},
)
THEMES = (DARK, LIGHT, CONTRAST)
DEFAULT = DARK.name
_MUTED = "text-muted"
_FADED = 0.38


def with_dim_labels(variables: Mapping[str, str]) -> dict[str, str]:
    """A theme's variables, labels in a colour between text and background.

    Textual's "auto 60%" is a colour with transparency, and our lines are painted without: they would be the brightest.
    """
    if not variables.get(_MUTED, "").startswith("auto"):
        return dict(variables)
    text, ground = (Color.parse(variables[name]) for name in ("foreground", "background"))
    return {**variables, _MUTED: text.blend(ground, _FADED, alpha=1.0).hex}
