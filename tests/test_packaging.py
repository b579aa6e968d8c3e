"""The package holds all of the rooms, as a wheel and editable, and the project names no place of its makers."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("assets", "backends", "cli", "pairs", "training", "tui")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CARD = ("textual", "llama-cpp-python", "ollama", "torch", "tiktoken", "datasets", "sqlite-utils")


def project_files() -> list[Path]:
    """Every file that belongs to the project: what git tracks or would, else all that no tool made."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]
    made = {
        ".venv",
        "build",
        "dist",
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
    }
    return [
        file
        for file in ROOT.rglob("*")
        if file.is_file() and not made & set(file.relative_to(ROOT).parts) and "egg-info" not in str(file)
    ]


FILES = project_files()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the project, so that nothing is written into the real one."""
    folder = tmp_path_factory.mktemp("wheel")
    for file in FILES:
        target = folder / "copy" / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=folder / "copy", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_beside_pairsmith(wheel: zipfile.ZipFile) -> None:
    ours = {
        f"pairsmith/{file.relative_to(ROOT).as_posix()}"
        for file in FILES
        if file.relative_to(ROOT).parts[0] in ROOMS
    }
    held = {name for name in wheel.namelist() if not name.startswith("pairsmith-")}
    assert held == ours


def test_the_wheel_is_imported_under_the_name_of_the_project(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import pairsmith.backends.protocol, pairsmith.training, pairsmith.pairs.store\n"
        "print(pairsmith.backends.protocol.__file__)"
    )
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "pairsmith = pairsmith.cli.main:main" in wheel.read(entry).decode()


def test_the_editable_installation_is_this_folder() -> None:
    import pairsmith.backends

    assert Path(str(pairsmith.backends.__file__)).parents[1] == ROOT


def test_the_package_list_is_the_folders_on_disk() -> None:
    folders = {
        "pairsmith." + ".".join(file.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for file in (ROOT / room).rglob("__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders


def test_every_folder_with_code_is_a_package() -> None:
    code = {
        file.parent for file in FILES if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in ROOMS
    }
    assert [str(folder) for folder in code if not (folder / "__init__.py").exists()] == []


def test_the_seven_packages_of_the_card_are_plain_dependencies() -> None:
    names = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}
    assert set(CARD) <= names
    assert "optional-dependencies" not in PROJECT["project"]


def test_the_rooms_import_only_what_is_declared() -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    carriers = metadata.packages_distributions()
    wrong = set()
    for file in (file for file in FILES if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in ROOMS):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in (
                {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"pairsmith"}
            ):
                found = {canonicalize_name(carrier) for carrier in carriers.get(name, [name])}
                if not found & declared:
                    wrong.add(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == set()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_are_exact_versions_without_address_or_path() -> None:
    for name, version in pins().items():
        assert re.fullmatch(r"[a-z0-9-]+", name), name
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"


def test_every_dependency_is_pinned_to_a_version_that_fits() -> None:
    held = pins()
    lines = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    for line in [*lines, *PROJECT["dependency-groups"]["dev"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(held[wanted.name]), line


def test_what_is_installed_is_what_is_pinned() -> None:
    held = pins()
    for line in PROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate():
            assert metadata.version(wanted.name).partition("+")[0] == held[wanted.name]


def test_versions_agree() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^\]]*)\]", changes, re.MULTILINE)
    assert newest
    assert newest[1] == PROJECT["project"]["version"] == metadata.version("pairsmith")


def test_no_file_names_a_registry_or_a_place_of_the_machine_it_was_made_on() -> None:
    hosts = ("py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian")
    places = ("/" + "work/", "/" + "farm/", "/" + "opt/pypi", "/" + "opt/wheels", "/root/" + ".pyenv")
    wrong = []
    for file in FILES:
        text = file.read_bytes()
        wrong += [f"{file.relative_to(ROOT)}: {bad}" for bad in (*hosts, *places) if bad.encode() in text]
    assert wrong == []


def test_continuous_integration_runs_make_test_and_nothing_else() -> None:
    file = ROOT / ".ci" / "run"
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ['cd "$(dirname "$0")/.." && exec make test']
    assert file.stat().st_mode & 0o111


def test_the_makefile_has_the_verbs_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in ("run", "test", "bench", "faults", "lint", "clean"):
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb
        assert f"make {verb}" in readme, verb
