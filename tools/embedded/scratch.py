"""Scratch repositories in which the commands of the grammar are really run, sealed off from everything else.

A repository is made by one `git fast-import` of a stream that already holds what the slots name, so it takes two short
processes. There is no network, no editor, no configuration but its own, and nothing outside of its folder is written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .commands import Unsafe, parse, refuse_code, refuse_outside
from .slots import Slot

COMMITS = 14
TIMEOUT_S = 20.0
LINES = 70
USER = "Scratch User <scratch@example.com>"
_START = 1_767_268_800
"""2026-01-01, noon: when the first commit was made; the others follow, one a day."""
_COMMIT_PLACES = {0: (), 1: (10,), 2: (6, 10), 3: (4, 8, 12), 4: (4, 6, 8, 12)}
_NOT_UNDERSTOOD = re.compile(
    r"^usage:|is not a git command|unrecognized argument|(?:unknown|invalid) (?:option|switch|subcommand)"
    r"|subcommand wasn't specified|too (?:many|few) arguments|requires (?:a value|an argument)|accepts at most",
    re.IGNORECASE | re.MULTILINE,
)
_CONFIG = """[user]
\tname = Scratch User
\temail = scratch@example.com
[init]
\tdefaultBranch = main
[protocol "file"]
\tallow = always
[gc]
\tauto = 0
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was run, or that was not: then `refused` says why."""

    command: str
    status: int = 0
    stdout: str = ""
    stderr: str = ""
    refused: str = ""

    @property
    def usage_error(self) -> bool:
        """Whether Git did not understand the command line: an unknown command, option or argument."""
        return self.status == 129 or bool(_NOT_UNDERSTOOD.search(self.stderr))


@dataclass(slots=True)
class Scratch:
    """A repository in `root/work`, with what it calls the values of the slots."""

    root: Path
    values: dict[Slot, str]
    place: Path = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.work

    @property
    def work(self) -> Path:
        return self.root / "work"

    def run(self, command: str, *, trusted: bool = True) -> Ran:
        """Run one command line, without a shell. `trusted`: it is one of the grammar, which may run programs."""
        try:
            line = parse(command)
            refuse_outside(line, self.root, self.place)
            if not trusted:
                refuse_code(line)
            if line.arguments[0] == "cd":
                self.place = self._inside(line.arguments[1] if len(line.arguments) > 1 else ".")
                return Ran(command)
            given = (self.place / line.read_from).read_bytes() if line.read_from else b""
        except Unsafe as error:
            return Ran(command, 126, refused=str(error))
        except OSError as error:
            return Ran(command, 1, stderr=str(error))
        ran = self._process(command, line.arguments, given, dict(line.environment))
        if line.write_to is not None:
            with (self.place / line.write_to).open("ab" if line.append else "wb") as file:
                file.write(ran.stdout.encode())
        return ran

    def shell(self, line: str) -> Ran:
        """Run one line of `setup`, which comes from the grammar, with a shell."""
        return self._process(line, ("sh", "-ec", line), b"", {})

    def _inside(self, folder: str) -> Path:
        place = (self.place / folder).resolve()
        if not place.is_relative_to(self.root) or not place.is_dir():
            raise Unsafe(f"there is no folder {folder}")
        return place

    def _process(self, command: str, arguments: Iterable[str], given: bytes, more: Mapping[str, str]) -> Ran:
        try:
            done = subprocess.run(
                list(arguments),
                cwd=self.place,
                env={**environment(self.root), **more},
                input=given,
                capture_output=True,
                timeout=TIMEOUT_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(command, 124, stderr=f"no end after {TIMEOUT_S:.0f} s")
        except OSError as error:
            return Ran(command, 127, stderr=str(error))
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return Ran(command, done.returncode, out, err)


def environment(root: Path) -> dict[str, str]:
    """The whole environment of a command: no configuration, editor, pager, prompt or network but what is here."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(root / "home"),
        "XDG_CONFIG_HOME": str(root / "home" / ".config"),
        "GIT_CONFIG_GLOBAL": str(root / "home" / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(root),
        "GIT_EDITOR": "true",
        "GIT_SEQUENCE_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_ASKPASS": "true",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
    }


def clashing(values: Mapping[Slot, str]) -> bool:
    """Whether values cannot stand side by side: a name that is a folder of another one, or a new one that is there."""
    for kinds in (("branch",), ("tag",), ("remote",), ("file", "folder")):
        names = [value for slot, value in values.items() if slot.kind in kinds]
        news = [value for slot, value in values.items() if slot.kind in kinds and slot.is_new]
        if any(f"{one}/" in f"{other}/" and one != other for one in names for other in names):
            return True
        if len(set(names)) < len(names) or any(new in ("main", "README.md", "src") for new in news):
            return True
    return False


def make_scratch(root: Path, values: Mapping[Slot, str]) -> Scratch:
    """A new repository in the empty or absent folder `root` in which the named things exist.

    Its `values` are those given, but for commits (real hashes) and addresses (paths of bare repositories).
    """
    root = root.resolve()
    git = root / "work" / ".git"
    for folder in ("objects", "refs/heads", "refs/tags", "info", "logs/refs/heads"):
        (git / folder).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tlogallrefupdates = true\n"
    )
    (root / "home").mkdir()
    (root / "home" / ".gitconfig").write_text(_CONFIG)
    scratch = Scratch(root, dict(values))
    marks = root / "marks"
    _git(
        root,
        ("-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", f"--export-marks={marks}"),
        _stream(values),
    )
    hashes = dict(line.split() for line in marks.read_text().splitlines())
    _write_logs(git, [hashes[f":{number}"] for number in range(1, COMMITS + 1)])
    _git(root, ("read-tree", "-u", "--reset", "HEAD"), "")
    commits = [slot for slot in values if slot.kind == "commit"]
    for slot, number in zip(commits, _places(len(commits)), strict=True):
        scratch.values[slot] = hashes[f":{number}"][:7]
    _add_remotes(root, scratch)
    return scratch


def _git(root: Path, arguments: Iterable[str], given: str) -> None:
    subprocess.run(
        ["git", *arguments], cwd=root / "work", env=environment(root), input=given.encode(), check=True,
        capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip


def _places(count: int) -> tuple[int, ...]:
    return _COMMIT_PLACES[count]


def _content(name: str, version: int, words: Iterable[str]) -> str:
    lines = [f"line {number} of {name}" for number in range(1, LINES + 1)]
    if version > 1:
        lines[9] += ", changed once"
        lines.insert(12, "a line that was put in later")
    if version > 2:
        lines[49] += ", changed again"
    for number, word in enumerate(words):
        lines[19 + 5 * number : 19 + 5 * number] = [f"def {word}():", f"    return {word}_value", ""]
    return "\n".join(lines) + "\n"


def _stream(values: Mapping[Slot, str]) -> str:
    """The history, as `git fast-import` reads it."""

    def named(kind: str) -> list[str]:
        return [value for slot, value in values.items() if slot.kind == kind and not slot.is_new]

    files, words = ["README.md", *named("file")], named("word")
    people = [f"{person} <{_address(person, values)}>" for person in named("person")]
    if not people:
        people = [f"Somebody Else <{email}>" for email in named("email")]
    out: list[str] = []
    for number in range(1, COMMITS + 1):
        author = people[number - 7] if 7 <= number < 7 + len(people) else USER
        message = (
            f"Add {words[number - 3]} to the parts" if 3 <= number < 3 + len(words) else f"Add part {number}"
        )
        changes = {f"src/part{number}.txt": _content(f"part {number}", 1, ())}
        if number == 1:
            changes |= {name: _content(name, 1, words) for name in files}
            changes |= {
                f"{name}/{leaf}": _content(leaf, 1, ())
                for name in named("folder")
                for leaf in ("one.txt", "two.md")
            }
        if number in (5, 11):
            changes |= {name: _content(name, 2 if number == 5 else 3, words) for name in files}
        out.append(_commit("refs/heads/main", number, number - 1, author, message, changes))
    for place, branch in enumerate(named("branch"), COMMITS + 1):
        leaf = f"own{place - COMMITS}.txt"
        changes = {leaf: _content(leaf, 1, ())}
        out.append(_commit(f"refs/heads/{branch}", place, COMMITS - 2, USER, f"Work on {branch}", changes))
    for place, tag in enumerate(named("tag")):
        out.append(f"reset refs/tags/{tag}\nfrom :{4 + 3 * place}\n\n")
    return "".join(out)


def _address(person: str, values: Mapping[Slot, str]) -> str:
    owner = next(slot for slot, value in values.items() if slot.kind == "person" and value == person)
    return values.get(Slot("email", owner.label), f"{person.split()[0].lower()}@example.org")


def _commit(ref: str, mark: int, parent: int, author: str, message: str, changes: Mapping[str, str]) -> str:
    when = f"{_START + 86400 * mark} +0000"
    head = f"commit {ref}\nmark :{mark}\nauthor {author} {when}\ncommitter {USER} {when}\n"
    parts = [head, f"data {len(message.encode())}\n{message}\n", f"from :{parent}\n" if parent else ""]
    parts += [
        f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n" for path, text in changes.items()
    ]
    return "".join(parts) + "\n"


def _write_logs(git: Path, hashes: list[str]) -> None:
    """The log of references as if every commit had been made here."""
    before, lines = "0" * 40, []
    for number, after in enumerate(hashes, 1):
        lines.append(f"{before} {after} {USER} {_START + 86400 * number} +0000\tcommit: Add part {number}\n")
        before = after
    for name in ("HEAD", "refs/heads/main"):
        (git / "logs" / name).write_text("".join(lines))


def _add_remotes(root: Path, scratch: Scratch) -> None:
    git = root / "work" / ".git"
    before = dict(scratch.values)
    for number, (slot, value) in enumerate(before.items()):
        if slot.kind == "url":
            folder = root / "urls" / str(number) / value.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
            _bare(git, folder)
            scratch.values[slot] = str(folder)
    for slot, value in before.items():
        if slot.kind == "remote" and not slot.is_new:
            folder = root / "remotes" / f"{value}.git"
            _bare(git, folder)
            with (git / "config").open("a") as config:
                config.write(
                    f'[remote "{value}"]\n\turl = {folder}\n\tfetch = +refs/heads/*:refs/remotes/{value}/*\n'
                )
            for head in sorted((git / "refs" / "heads").rglob("*")):
                if head.is_file():
                    copy = git / "refs" / "remotes" / value / head.relative_to(git / "refs" / "heads")
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_text(head.read_text())


def _bare(git: Path, folder: Path) -> None:
    shutil.copytree(git, folder, ignore=shutil.ignore_patterns("logs", "index", "remotes"))
    (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
