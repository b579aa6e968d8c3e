"""Command lines as they stand in answers: taken apart without a shell, refused where they could reach outside.

Only Git and a handful of harmless programs are run, each as a list of arguments; `>`, `>>` and `<` are understood,
pipes and substitutions are not.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = frozenset(
    {"git", "cd", "echo", "printf", "mkdir", "touch", "mv", "cp", "rm", "cat", "chmod", "ls"}
)
_SETTING = re.compile(
    r"GIT_(?:(?:AUTHOR|COMMITTER)_(?:DATE|NAME|EMAIL)|(?:SEQUENCE_)?EDITOR|TRACE)=.*", re.DOTALL
)
_HARMLESS_EDITORS = (":", "true")
_PATTERN_OPTIONS = frozenset({"-L", "-G", "-S", "--grep", "-e", "--author"})
_RUNS_CODE = re.compile(
    r"--?(?:exec|upload-pack|receive-pack|ext-diff|open-files-in-pager)\b|ext::"
    r"|(?:alias|core\.(?:pager|editor|sshcommand|hookspath|fsmonitor)|pager|filter|difftool|mergetool|credential)\.?",
    re.IGNORECASE,
)
_CODE_COMMANDS = (
    ("bisect", "run"),
    ("submodule", "foreach"),
    ("filter-branch",),
    ("difftool",),
    ("mergetool",),
)


class Unsafe(Exception):
    """A command line that is not run; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One program with its arguments. Files are given as in the line, relative to where it runs."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    read_from: str | None = None
    write_to: str | None = None
    append: bool = False


def normal(command: str) -> tuple[str, ...]:
    """What a command line means whatever its quotes and spaces: its words. One that cannot be read is one word."""
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return (command.strip(),)


def parse(command: str) -> Line:
    """A command line taken apart. Raises Unsafe for anything but one of `PROGRAMS` with files to read and write."""
    reader = shlex.shlex(command, posix=True, punctuation_chars="<>|;&()")
    reader.whitespace_split = True
    reader.commenters = ""
    try:
        words = list(reader)
    except ValueError as error:
        raise Unsafe(f"cannot be read: {error}") from None
    if "`" in command or "$(" in command or "\n" in command:
        raise Unsafe("substitutions and line breaks are not run")
    environment = []
    while words and _SETTING.fullmatch(words[0]):
        name, _, value = words.pop(0).partition("=")
        if name.endswith("EDITOR") and value not in _HARMLESS_EDITORS:
            raise Unsafe(f"{name} may only be : or true")
        environment.append((name, value))
    if not words or words[0] not in PROGRAMS:
        raise Unsafe(f"does not begin with git: {words[0] if words else 'nothing'!s}")
    return _redirected(words, environment, command)


def _redirected(words: Sequence[str], environment: list[tuple[str, str]], command: str) -> Line:
    arguments: list[str] = []
    files: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word in (">", ">>", "<") and _stands_bare(word, command):
            target = next(rest, None)
            if target is None:
                raise Unsafe(f"nothing follows {word}")
            files[word] = target
        elif word and set(word) <= set("<>|;&()") and _stands_bare(word, command):
            raise Unsafe(f"{word} is not run: put quotes around it, or write each command on its own")
        else:
            arguments.append(word)
    return Line(
        tuple(arguments), tuple(environment), files.get("<"), files.get(">>", files.get(">")), ">>" in files
    )


def _stands_bare(mark: str, command: str) -> bool:
    """Whether a mark of the shell stands outside of quotes."""
    bare = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", '""', command)
    return mark in bare


def refuse_outside(line: Line, root: Path, place: Path) -> None:
    """Raises Unsafe where an argument names something outside of `root`; `place` is where the line runs."""
    depth = len(place.relative_to(root).parts)
    before = ""
    paths = [word for word in (line.read_from, line.write_to) if word is not None]
    if line.arguments[0] in ("echo", "printf"):
        words: Sequence[str] = paths
    else:
        words = [*line.arguments[1:], *paths]
    for word in words:
        if before not in _PATTERN_OPTIONS:
            for text in (word, word.partition("=")[2], word[2:] if re.match(r"-[A-Za-z]/", word) else ""):
                _refuse_path(text, root, depth)
        before = word


def _refuse_path(text: str, root: Path, depth: int) -> None:
    text = text.removeprefix("file://")
    if text.startswith("/") and not Path(text).is_relative_to(root):
        raise Unsafe(f"{text} is outside of the scratch directory")
    if text.startswith("/") and ".." in Path(text).parts:
        raise Unsafe(f"{text} may be outside of the scratch directory")
    level = depth
    for part in text.split("/"):
        level += -1 if part == ".." else 0 if part in ("", ".") else 1
        if level < 0:
            raise Unsafe(f"{text} is outside of the scratch directory")


def refuse_code(line: Line) -> None:
    """Raises Unsafe where Git would run another program: for command lines that a model wrote."""
    words = [word for word in line.arguments[1:] if not word.startswith("-")]
    for names in _CODE_COMMANDS:
        if tuple(words[: len(names)]) == names:
            raise Unsafe(f"git {' '.join(names)} runs other programs")
    for word in line.arguments[1:]:
        if _RUNS_CODE.match(word) or (word == "-x" and "rebase" in words):
            raise Unsafe(f"{word} may run other programs")
