"""`pairsmith export WORKSPACE -`: the same rows, on standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from .command_line import git_rows, run, write_rows


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "git.pairsmith"
    assert run("new", path, "--domain", "Git").code == 0
    assert run("import", path, write_rows(tmp_path / "rows.jsonl", git_rows(5))).code == 0
    return path


def test_a_dash_writes_the_bytes_of_the_file_and_nothing_else(workspace: Path, tmp_path: Path) -> None:
    assert run("export", workspace, tmp_path / "file.jsonl").code == 0
    ran = run("export", workspace, "-", cwd=tmp_path)
    assert ran.code == 0
    assert ran.out.encode() == (tmp_path / "file.jsonl").read_bytes()
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("option", [("--json",), ("--card",), ("--format", "hf")])
def test_what_is_no_single_file_of_rows_is_refused(workspace: Path, option: tuple[str, ...]) -> None:
    run("export", workspace, "-", *option).assert_one_line_error(2, "standard output")
