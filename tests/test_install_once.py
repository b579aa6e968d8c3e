"""When the installation has something to do, what it asks pip for, and what it says without a Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import install
import pytest
from steps import Screen

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> install.Place:
    """A clone that says it is installed, without what only tests need."""
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    monkeypatch.delenv("PAIRSMITH_LLAMA_WHEEL", raising=False)
    for name in install.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    place = install.Place(tmp_path)
    place.python.parent.mkdir(parents=True)
    place.python.touch()
    stamp = {"digest": install.digest(place), "root": str(tmp_path), "dev": False, "wishes": {}}
    place.stamp.write_text(json.dumps(stamp))
    return place


def test_an_unchanged_clone_has_nothing_to_do(place: install.Place) -> None:
    assert install.is_current(place, dev=False)


@pytest.mark.parametrize("name", install.INPUTS)
def test_a_change_of_any_input_is_noticed(place: install.Place, name: str) -> None:
    with (place.root / name).open("a") as file:
        file.write("\n")
    assert not install.is_current(place, dev=False)


def test_the_tests_need_more_than_the_application(place: install.Place) -> None:
    assert not install.is_current(place, dev=True)


def test_a_moved_clone_is_installed_anew(place: install.Place, tmp_path: Path) -> None:
    moved = tmp_path.parent / (tmp_path.name + "-moved")
    shutil.move(tmp_path, moved)
    assert not install.is_current(install.Place(moved), dev=False)


def test_an_environment_whose_python_is_gone_is_made_anew(place: install.Place) -> None:
    place.python.unlink()
    place.python.symlink_to("/no/such/python")
    assert not install.is_current(place, dev=False)


def test_new_cmake_arguments_are_a_reason_to_build_again(
    place: install.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=ON")
    assert not install.is_current(place, dev=False)


def test_cmake_arguments_of_the_last_time_stay_in_force(
    place: install.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = json.loads(place.stamp.read_text()) | {"wishes": {"CMAKE_ARGS": "-DGGML_VULKAN=ON"}}
    place.stamp.write_text(json.dumps(stamp))
    assert install.is_current(place, dev=False)
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=ON")
    assert install.is_current(place, dev=False)


def test_a_wheel_of_the_last_time_yields_to_new_cmake_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=ON")
    monkeypatch.delenv("PAIRSMITH_LLAMA_WHEEL", raising=False)
    found: dict[str, object] = {"wishes": {"PAIRSMITH_LLAMA_WHEEL": "a.whl"}}
    assert install.wishes(found) == {"CMAKE_ARGS": "-DGGML_VULKAN=ON"}


def test_a_broken_stamp_is_no_stamp(place: install.Place) -> None:
    place.stamp.write_text('{"digest"')
    assert not install.is_current(place, dev=False)


def test_torch_and_llama_are_chosen_by_the_installer_and_all_else_by_pyproject(place: install.Place) -> None:
    names = install.requirements(place, dev=False)
    assert not [name for name in names if name.startswith(("torch", "llama"))]
    assert [name for name in names if name.startswith(("textual", "sqlite-utils", "datasets"))]
    assert len(install.requirements(place, dev=True)) > len(names)


@pytest.mark.parametrize(
    ("gpu", "system", "asked"),
    [
        (True, "Linux", "torch!=2.13.0+cpu"),
        (False, "Linux", "torch==2.13.0+cpu"),
        (False, "Darwin", "torch"),
    ],
)
def test_torch_follows_the_gpu(gpu: bool, system: str, asked: str) -> None:
    assert install.torch_choice("2.13.0", gpu, system) == asked


def test_steps_run_side_by_side_and_say_how_they_ended(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(tmp_path)
    good, bad = screen.start("one", ["true"]), screen.start("another", ["false"], vain="nothing there")
    assert screen.wait(good)
    assert not screen.wait(bad)
    said = capfd.readouterr().out
    assert "one: done" in said
    assert "another: nothing there" in said


def test_a_step_knows_how_far_a_build_is(tmp_path: Path) -> None:
    screen = Screen(tmp_path)
    step = screen.start("building", ["echo", "  [41/130] Building CXX object x.o"])
    screen.wait(step)
    assert step.doing == "41 of 130"


def test_stopping_ends_what_runs(tmp_path: Path) -> None:
    screen = Screen(tmp_path)
    step = screen.start("sleeping", ["sleep", "60"])
    screen.stop()
    assert step.process.returncode is not None


def test_without_a_python_make_says_which_are_looked_for(tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "echo", "test"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    environment = {"PATH": str(tmp_path / "bin")}
    done = subprocess.run(
        [make, "run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Pairsmith needs Python 3.11 or newer, and none was found" in done.stdout
