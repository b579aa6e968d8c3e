"""Keys that the user changed by hand, looked at: is there such an action, such a key, and is the key another's?"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

from pairsmith.backends.text import one_line

from . import screens
from .keymap import AppSettings, never_pressed

_Actions = Mapping[str, Sequence[str]]
"""Of one screen: binding id -> the keys that it has by default."""


def checked(settings: AppSettings) -> AppSettings:
    """The settings without the keys that cannot be used; the problems say which these are (blocking)."""
    wrong = wrong_keys(settings.keys)
    good = {action: keys for action, keys in settings.keys.items() if action not in wrong}
    said = [f"settings: [keys] {one_line(action, 40)} is not used: {why}" for action, why in wrong.items()]
    return replace(settings, keys=good, problems=(*settings.problems, *said))


def wrong_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Binding id -> why its keys cannot be used, and what to do. Without these none is left that another one has.

    Imports every screen, since only their bindings say what there is (blocking).
    """
    if not keys:
        return {}
    every = list(_screens())
    known = sorted({action for actions in every for action in actions})
    good: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for action, text in keys.items():
        never = never_pressed(text)
        if action not in known:
            near = get_close_matches(action, known, n=1)
            wrong[action] = (
                f"no such action. {f'Did you mean {near[0]}?' if near else '9 Settings lists them'}"
            )
        elif never is not None:
            looks = "A key looks like a, G, f5, space, pageup, ctrl+g or ctrl+shift+g"
            wrong[action] = f"{one_line(never, 30) or 'an empty text'} is no key. {looks}"
        else:
            good[action] = text
    # One that is not used has its first keys again, which may be another's now: until all are different.
    while taken := dict(found for actions in every for found in _taken(actions, good)):
        wrong |= taken
        good = {action: text for action, text in good.items() if action not in taken}
    return wrong


def _taken(actions: _Actions, changed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Of a screen the changed ones that have a key of another one, with what to say."""
    now = {action: _split(changed[action]) if action in changed else keys for action, keys in actions.items()}
    for action in [one for one in changed if one in now]:
        for other, keys in now.items():
            both = [key for key in now[action] if key in keys]
            if other != action and both:
                yield action, f"{both[0]} is a key of {other}, too. Give one of them another"
                break


def _split(keys: str) -> list[str]:
    return [one.key for one in Binding.make_bindings([Binding(keys, "")])]


def _screens() -> Iterator[_Actions]:
    for module in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}."):
        importlib.import_module(module.name)
    for kind in (*_below(App), *_below(Screen)):
        actions: dict[str, list[str]] = {}
        merged = kind._merged_bindings
        for key, bindings in merged.key_to_bindings.items() if merged is not None else ():
            for binding in bindings:
                if binding.id is not None:
                    actions.setdefault(binding.id, []).append(key)
        yield actions


def _below(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
