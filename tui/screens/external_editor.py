"""$EDITOR on a pair: the terminal is the editor's meanwhile, and nothing in the application stands still."""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from textual.app import App, SuspendNotSupported

from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError

from .edit_pair import Texts

NAMES = ("instruction", "input", "response")


async def edit_outside(
    app: App[int], texts: Texts, env: Mapping[str, str], keep: Callable[[Texts], Awaitable[object]]
) -> bool:
    """Let the editor change the texts and `keep` store them; whether there was a change.

    Raises PairsmithError: no editor, it failed, a heading is gone, or `keep` refused. What was written in the editor
    then stays in its file, which the error names.
    """
    command = shlex.split(env.get("VISUAL") or env.get("EDITOR") or "vi")
    handle, name = tempfile.mkstemp(prefix="pairsmith-", suffix=".md")
    path = Path(name)
    written = False
    try:
        mark = unique_mark(texts)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(joined(texts, mark))
        await _run(app, [*command, name])
        written = path.exists()
        try:
            text = await asyncio.to_thread(_read, path)
        except (OSError, UnicodeDecodeError) as error:
            raise PairsmithError(f"what the editor wrote cannot be read: {one_line(str(error))}") from None
        after = parted(text, mark)
        if after != texts:
            await keep(after)
        written = False
        return after != texts
    except PairsmithError as error:
        if not written:
            raise
        raise PairsmithError(f"what you wrote is kept in {path}: {error.message}", error.advice) from None
    finally:
        if not written:
            path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


async def _run(app: App[int], command: list[str]) -> None:
    failure: BaseException | None = None
    code = 0
    try:
        with app.batch_update(), app.suspend():
            # An exception must not leave this block: Textual would not take the terminal back.
            try:
                code = await _ended(command)
            except BaseException as error:
                failure = error
    except SuspendNotSupported:
        raise PairsmithError("this terminal cannot be given to an editor", "Use e") from None
    if isinstance(failure, OSError):
        why = one_line(failure.strerror or "it cannot be started")
        raise PairsmithError(f"the editor {one_line(command[0])}: {why}", "Set EDITOR") from None
    if failure is not None:
        raise failure
    if code:
        raise PairsmithError(f"the editor ended with code {code}; nothing was changed")


async def _ended(command: list[str]) -> int:
    """Run the editor; its exit code. Raises OSError where it cannot be started."""
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()


def unique_mark(texts: Texts) -> str:
    """The beginning of heading lines that occurs in none of the texts."""
    mark = "####"
    while any(mark in text for text in (texts.instruction, texts.input, texts.output)):
        mark += "#"
    return mark


def joined(texts: Texts, mark: str) -> str:
    """The three texts under headings."""
    parts = zip(NAMES, (texts.instruction, texts.input, texts.output), strict=True)
    return "".join(f"{mark} {name}\n{text}\n" for name, text in parts)


def parted(text: str, mark: str) -> Texts:
    """The texts under the headings of `joined`. Raises PairsmithError where one is missing."""
    found: list[str] = []
    rest = text
    for number, name in enumerate(NAMES):
        heading = f"{mark} {name}\n"
        at = 0 if not number and rest.startswith(heading) else rest.find(f"\n{heading}") + 1
        if not rest.startswith(heading, at):
            raise PairsmithError(
                f"the line '{mark} {name}' is gone; nothing was changed", "Leave the headings alone"
            )
        if number:
            found.append(rest[: at - 1])
        rest = rest[at + len(heading) :]
    return Texts(found[0], found[1], rest.removesuffix("\n"))
