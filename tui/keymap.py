"""Keys that the user changed: `[keys]` in the settings file, binding id -> keys ("review.accept" = "a,y")."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pairsmith.backends.text import one_line
from pairsmith.pairs.user_settings import settings_path


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What the application keeps in the settings file. `problems` say what of it is not used, and why."""

    path: Path
    theme: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_app_settings(env: Mapping[str, str]) -> AppSettings:
    """The application's part of the settings file; never raises for what is in it.

    Whether there are such actions and keys is not looked at: `key_check.py` does that.
    """
    path = settings_path(env)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return AppSettings(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return AppSettings(path, problems=(f"the settings cannot be read: {one_line(str(error), 100)}",))
    keys = data.get("keys", {})
    theme = data.get("theme")
    good: dict[str, str] = {}
    problems: list[str] = []
    if theme is not None and not isinstance(theme, str):
        problems.append("settings: theme must be a text like 'textual-dark'")
    for name, value in (keys if isinstance(keys, dict) else {"": None}).items():
        if isinstance(value, str) and value.strip():
            good[name] = value
        else:
            problems.append(f"settings: [keys] {one_line(name, 40)} must be a text like 'a,y'")
    return AppSettings(path, theme if isinstance(theme, str) else None, good, tuple(problems))


def never_pressed(keys: str) -> str | None:
    """The first of these keys, separated by commas, that no terminal can send; None where each can be pressed."""
    return next((key for key in map(str.strip, keys.split(",")) if not _can_be_pressed(key)), None)


def _can_be_pressed(key: str) -> bool:
    from textual._keyboard_protocol import FUNCTIONAL_KEYS
    from textual.keys import REPLACED_KEYS, Keys, _character_to_key, key_to_character

    if len(key) == 1:
        return key.isprintable()
    named = {*FUNCTIONAL_KEYS.values(), *(one.value for one in Keys if "<" not in one.value)} - {
        "ignore",
        "return",
    }
    if key in named:
        return True
    *modifiers, name = key.split("+")
    character = key_to_character(REPLACED_KEYS.get(name, name))
    if character is None or _character_to_key(character) != name:
        known = name in named
    else:  # a terminal sends G for shift+g, and ctrl+shift+g for ctrl+G
        known = not (modifiers and name.isupper()) and (modifiers != ["shift"] or name == "space")
    wanted = ("alt", "ctrl", "hyper", "meta", "shift", "super")
    return known and modifiers == [one for one in wanted if one in modifiers]
