"""A workspace file that is broken in any way: every command ends with an exit code and a line, none in a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pairsmith.cli.main import main

from .command_line import call, git_rows, write_rows

READING = ("stats", "verify", "doctor")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "w.pairsmith"
    assert main(["new", str(path), "--domain", "git"]) == 0
    assert main(["import", str(path), str(write_rows(folder / "rows.jsonl", git_rows(400)))]) == 0
    assert main(["topics", str(path), "--add", "Merging"]) == 0
    return path.read_bytes()


def broken(data: bytes, rng: random.Random) -> bytes:
    """One way in which a disk, a program or a person breaks a file."""
    changed = bytearray(data)
    kind = rng.choice(("flip", "flips", "cut", "zero page", "header", "swap", "random page", "longer"))
    page = rng.randrange(len(data) // 4096)
    if kind == "flip":
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "flips":
        for _ in range(rng.randrange(2, 200)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "cut":
        del changed[rng.randrange(len(data)) :]
    elif kind == "zero page":
        changed[page * 4096 : page * 4096 + 4096] = bytes(4096)
    elif kind == "header":
        changed[rng.randrange(100)] = rng.randrange(256)
    elif kind == "swap":
        other = rng.randrange(len(data) // 4096) * 4096
        changed[page * 4096 : page * 4096 + 4096] = data[other : other + 4096]
    elif kind == "random page":
        changed[page * 4096 : page * 4096 + 4096] = rng.randbytes(4096)
    else:
        changed += rng.randbytes(rng.randrange(1, 9000))
    return bytes(changed)


def try_all(number: int, whole: bytes, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(number)
    data = broken(whole, rng)
    path = folder / "w.pairsmith"
    for command in (*READING, "undo", "import", "filter", "export", "backup", "topics"):
        path.write_bytes(data)
        more: dict[str, list[object]] = {
            "doctor": ["--no-self-test", "--deep"],
            "import": [write_rows(folder / "more.jsonl", git_rows(20, 1000))],
            "filter": ["--where", "helpfulness >= 3"],
            "export": [folder / "out"],
            "backup": [folder / f"copy-{command}"],
            "topics": ["--add", "Branching"],
        }
        ran = call(capsys, command, path, *more.get(command, []))
        assert ran.code in (0, 1, 4), (number, command, ran)
        assert "Traceback" not in ran.err, (number, command, ran.err)
        if ran.code:
            told = len(ran.err.splitlines()) == 1 or (command == "doctor" and not ran.err and "!!" in ran.out)
            assert told, (number, command, ran)
        if command in READING:
            assert path.read_bytes() == data, (number, command)
        for left in [*folder.glob("w.pairsmith-*"), *folder.glob("copy-*"), *folder.glob("w.pairsmith.lock")]:
            left.unlink()


@pytest.mark.parametrize("number", range(12))
def test_a_broken_file_is_refused_or_worked_with_never_a_crash(
    number: int,
    whole: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    try_all(number, whole, tmp_path, capsys)


@pytest.mark.faults
@pytest.mark.parametrize("number", range(100, 300))
def test_two_hundred_broken_files_are_refused_or_worked_with_never_a_crash(
    number: int,
    whole: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    try_all(number, whole, tmp_path, capsys)


def text_pages(data: bytes) -> list[int]:
    """Leaves of tables that hold texts of pairs."""
    starts = range(0, len(data), 4096)
    return [at for at in starts if data[at] == 13 and b"does thing" in data[at : at + 4096]]


@pytest.mark.faults
def test_pages_in_each_others_place_never_make_a_check_endless(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pairsmith"
    pages = text_pages(whole)
    assert len(pages) > 5
    for at in pages:
        for other in pages:
            if at == other:
                continue
            data = bytearray(whole)
            data[at : at + 4096] = whole[other : other + 4096]
            path.write_bytes(data)
            for words in (("verify", path), ("filter", path, "--where", "topic == 'x'", "--preview")):
                ran = call(capsys, *words)
                assert ran.code in (0, 1, 4), (at, other, ran)
                assert "Traceback" not in ran.err
