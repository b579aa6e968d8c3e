"""The rooms keep their floors: imports go down only, heavy libraries wait, one room alone speaks SQL."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("assets", "backends", "cli", "pairs", "training", "tui")
MAY_USE = {
    "assets": set(),
    "backends": set(),
    "training": set(),
    "pairs": {"backends"},
    "cli": set(ROOMS),
    "tui": set(ROOMS),
}
HEAVY = {"torch", "datasets", "llama_cpp", "openai", "pandas", "sqlite_utils", "ollama"}
SQL = {"sqlite3", "pysqlite3", "sqlite_utils"}
TRAINING_MAY_IMPORT = {"torch", "tiktoken", "numpy", "safetensors"}
DOORS = ("backends.registry", "backends.llama_cpp.backend", "pairs.store", "cli.main", "tui.app")
FILES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))


def names_of(node: ast.AST, file: Path) -> Iterator[str]:
    """Full dotted names that an import statement asks for; relative ones as `pairsmith.<room>...`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = ("pairsmith", *file.relative_to(ROOT).parent.parts)
        above = package[: len(package) - node.level + 1] if node.level else ()
        base = [*above, *(node.module.split(".") if node.module else ())]
        yield from (".".join([*base, alias.name]) for alias in node.names)


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement that runs when the module is imported: all but what stands in functions."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_type_checking(node):
            continue
        yield node
        for inner in ("body", "orelse", "finalbody", "handlers"):
            for child in getattr(node, inner, []):
                yield from run_at_import(child.body if isinstance(child, ast.ExceptHandler) else [child])


def imports(file: Path, *, at_import: bool = False) -> list[tuple[int, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = run_at_import(tree.body) if at_import else ast.walk(tree)
    return [(getattr(node, "lineno", 0), name) for node in nodes for name in names_of(node, file)]


def said(file: Path, line: int, name: str) -> str:
    return f"{file.relative_to(ROOT)}:{line} imports {name}"


def test_there_are_rooms_to_look_at() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in FILES} >= {"backends", "pairs", "training", "cli"}


def test_imports_go_down_only() -> None:
    wrong = []
    for file in FILES:
        room = file.relative_to(ROOT).parts[0]
        for line, name in imports(file):
            parts = name.split(".")
            other = parts[1] if parts[0] == "pairsmith" and len(parts) > 1 else room
            if other != room and other not in MAY_USE[room]:
                wrong.append(said(file, line, name))
    assert wrong == []


def test_no_room_is_imported_by_the_bare_name_of_its_folder() -> None:
    bare = {"backends", "cli", "pairs", "training", "tui"}
    assert [
        said(file, line, name) for file in FILES for line, name in imports(file) if name.split(".")[0] in bare
    ] == []


def test_heavy_libraries_are_not_imported_with_a_module() -> None:
    wrong = []
    for file in FILES:
        room = file.relative_to(ROOT).parts[:2]
        allowed = {"torch"} if room[0] == "training" else set()
        # What runs in llama.cpp's worker process may; that nobody else loads it is the next test.
        allowed |= {"llama_cpp"} if room == ("backends", "llama_cpp") else set()
        for line, name in imports(file, at_import=True):
            if name.split(".")[0] in HEAVY - allowed:
                wrong.append(said(file, line, name))
    assert wrong == []


@pytest.mark.parametrize("module", DOORS)
def test_the_doors_open_without_heavy_libraries(module: str) -> None:
    code = f"import sys, pairsmith.{module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_training_needs_only_its_four_libraries_to_be_imported() -> None:
    allowed = TRAINING_MAY_IMPORT | set(sys.stdlib_module_names)
    wrong = []
    for file in (ROOT / "training").rglob("*.py"):
        for line, name in imports(file, at_import=True):
            first, *rest = name.split(".")
            inside = first == "pairsmith" and rest[:1] == ["training"]
            if first not in allowed and not inside:
                wrong.append(said(file, line, name))
    assert wrong == []


def test_training_imports_itself_relatively_so_that_it_runs_from_a_bare_tree() -> None:
    wrong = []
    for file in (ROOT / "training").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            absolute = isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
            if absolute:
                wrong += [
                    said(file, node.lineno, n) for n in names_of(node, file) if n.startswith("pairsmith")
                ]
    assert wrong == []


def test_only_the_store_speaks_to_sqlite() -> None:
    store = ROOT / "pairs" / "store"
    assert [
        said(file, line, name)
        for file in FILES
        if not file.is_relative_to(store)
        for line, name in imports(file)
        if name.split(".")[0] in SQL
    ] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch", True),
        ("try:\n    import torch\nexcept ImportError:\n    pass", True),
        ("class A:\n    import torch", True),
        ("try:\n    pass\nexcept ImportError:\n    import torch", True),
        ("def f():\n    import torch", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
    ],
)
def test_the_search_tells_module_level_from_function_level(source: str, found: bool) -> None:
    nodes = run_at_import(ast.parse(source).body)
    names = [name for node in nodes for name in names_of(node, ROOT / "pairs" / "x.py")]
    assert ("torch" in names) is found


def test_the_search_resolves_relative_imports() -> None:
    file = ROOT / "backends" / "llama_cpp" / "x.py"
    node = ast.parse("from ...pairs import store").body[0]
    assert list(names_of(node, file)) == ["pairsmith.pairs.store"]
