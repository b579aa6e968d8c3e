"""The user's own defaults, for every workspace: a TOML file that is also edited by hand.

It lies in PAIRSMITH_HOME, else where the system keeps configuration. Keys that this module does not know (the
application's) stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import PairsmithError, UsageError

FILE_NAME = "settings.toml"


@dataclass(frozen=True, slots=True)
class UserSettings:
    """BACKEND:MODEL for workspaces that name none, the server that `openai` means, the name under which the user rates
    answers (None: not set), and whether llama.cpp's answers are made one at a time, so that they come again."""

    generator: str | None = None
    judge: str | None = None
    base_url: str | None = None
    rater: str | None = None
    reproducible: bool = False


def settings_path(env: Mapping[str, str]) -> Path:
    """Where the file lies, whether it exists or not."""
    home = env.get("PAIRSMITH_HOME", "").strip()
    if home:
        return Path(home).expanduser() / FILE_NAME
    import platformdirs

    return Path(platformdirs.user_config_dir("pairsmith", appauthor=False)) / FILE_NAME


def read_user_settings(env: Mapping[str, str]) -> UserSettings:
    """The user's defaults; all unset where there is no file. Raises UsageError naming the file and what is wrong."""
    path = settings_path(env)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return UserSettings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"the settings {one_line(str(path))} cannot be read: {one_line(str(error))}",
            "Correct or remove the file",
        ) from None
    return UserSettings(
        _spec(data, "generator", path),
        _spec(data, "judge", path),
        _text(data, "base_url", path),
        _text(data, "rater", path),
        _flag(data, "reproducible", path),
    )


def save_user_settings(env: Mapping[str, str], **values: str | bool | Mapping[str, str] | None) -> Path:
    """Set (or with None remove) keys of the file and leave the rest, comments included, as it is. Returns its path.

    Raises PairsmithError where it cannot be written.
    """
    import tomlkit

    path = settings_path(env)
    read_user_settings(env)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        for key, value in values.items():
            if value is None:
                document.pop(key, None)
            else:
                document[key] = value if isinstance(value, (str, bool)) else dict(value)
        temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(tomlkit.dumps(document))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise PairsmithError(
            f"{one_line(str(path))} cannot be written: {one_line(error.strerror or '')}"
        ) from error
    return path


def _text(data: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{one_line(str(path))}: '{key}' must be a text")
    return value.strip()


def _flag(data: Mapping[str, Any], key: str, path: Path) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{one_line(str(path))}: '{key}' must be true or false")
    return value


def _spec(data: Mapping[str, Any], key: str, path: Path) -> str | None:
    text = _text(data, key, path)
    if text is None:
        return None
    from pairsmith.backends.errors import UnknownBackend
    from pairsmith.backends.registry import parse_spec

    try:
        return str(parse_spec(text))
    except UnknownBackend as error:
        raise UsageError(f"{one_line(str(path))}: '{key}': {error.message}", error.advice) from None
