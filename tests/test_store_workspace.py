"""A workspace file: made whole, opened only if it is ours, written durably, never changed where it is
refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import sqlite3 as any_sqlite
import tempfile
import threading
from pathlib import Path

import pytest

from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.store import migrations
from pairsmith.pairs.store import workspace as workspace_module
from pairsmith.pairs.store.connection import connect_writing
from pairsmith.pairs.store.driver import has_wal_bug, sqlite3, wal_bug
from pairsmith.pairs.store.errors import (
    WorkspaceExists,
    WorkspaceMissing,
    WorkspaceReadOnly,
    WorkspaceRefused,
)
from pairsmith.pairs.store.meta import get_meta, set_meta
from pairsmith.pairs.store.pair_rows import get_pair
from pairsmith.pairs.store.schema import SCHEMA_VERSION
from pairsmith.pairs.store.workspace import create_workspace, open_workspace
from tests.stores import add_pairs, new_workspace, python


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_settings_survive_a_restart(tmp_path: Path) -> None:
    with new_workspace(tmp_path, local_only=True) as workspace:
        uid = workspace.id
        workspace.write(lambda conn: set_meta(conn, "generator", "ollama:x"))
    with open_workspace(tmp_path / "w.pairsmith") as workspace:
        assert (workspace.id, workspace.local_only) == (uid, True)
        assert workspace.meta("generator") == "ollama:x"
        assert workspace.meta("domain") == "git"
        assert workspace.meta("nothing") is None


@pytest.mark.skipif(wal_bug, reason="a reader cannot take its empty log away")
def test_a_closed_workspace_is_one_file(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
        workspace.read(lambda conn: get_pair(conn, 1))
    with open_workspace(tmp_path / "w.pairsmith") as workspace:
        workspace.read(lambda conn: get_pair(conn, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["w.pairsmith"]


def test_the_writing_connection_keeps_the_contract(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:

        def pragmas(conn: sqlite3.Connection) -> dict[str, object]:
            names = (
                "journal_mode",
                "synchronous",
                "foreign_keys",
                "busy_timeout",
                "trusted_schema",
                "cell_size_check",
            )
            return {name: conn.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        assert workspace.write(pragmas) == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 10_000,
            "trusted_schema": int(sqlite3.sqlite_version_info < (3, 42)),
            "cell_size_check": 1,
        }


def test_readers_cannot_write(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        with pytest.raises((WorkspaceReadOnly, sqlite3.OperationalError)):
            workspace.read(lambda conn: set_meta(conn, "x", "y"))
        assert workspace.meta("x") is None


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:

        def half(conn: sqlite3.Connection) -> None:
            set_meta(conn, "x", "y")
            raise KeyError("stop")

        with pytest.raises(KeyError):
            workspace.write(half)
        assert workspace.meta("x") is None
        workspace.write(lambda conn: set_meta(conn, "x", "z"))
        assert workspace.meta("x") == "z"


def test_work_may_not_end_its_own_transaction(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        with pytest.raises(RuntimeError):
            workspace.write(lambda conn: conn.execute("COMMIT"))
        workspace.write(lambda conn: set_meta(conn, "x", "z"))


def test_a_write_inside_a_write_is_refused(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace, pytest.raises(RuntimeError, match="inside a write"):
        workspace.write(lambda conn: workspace.write(lambda c: None))


def test_a_read_sees_one_moment(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:

        def twice(conn: sqlite3.Connection) -> tuple[str | None, str | None]:
            first = get_meta(conn, "x")
            done = threading.Thread(target=lambda: workspace.write(lambda c: set_meta(c, "x", "new")))
            done.start()
            done.join()
            return first, get_meta(conn, "x")

        assert workspace.read(twice) == (None, None)
        assert workspace.meta("x") == "new"


async def test_the_event_loop_runs_while_a_write_waits(tmp_path: Path) -> None:
    async with new_workspace(tmp_path) as workspace:
        gate = threading.Event()
        slow = asyncio.ensure_future(workspace.awrite(lambda conn: gate.wait(5)))
        assert await workspace.aread(lambda conn: get_meta(conn, "domain")) == "git"
        gate.set()
        assert await slow is True


async def test_a_write_given_up_while_it_waits_is_not_done(tmp_path: Path) -> None:
    async with new_workspace(tmp_path) as workspace:
        gate = threading.Event()
        slow = asyncio.ensure_future(workspace.awrite(lambda conn: gate.wait(5)))
        waiting = asyncio.ensure_future(workspace.awrite(lambda conn: set_meta(conn, "x", "y")))
        await asyncio.sleep(0.01)
        waiting.cancel()
        gate.set()
        await slow
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await workspace.aread(lambda conn: get_meta(conn, "x")) is None


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(WorkspaceExists):
        create_workspace(other, domain="x", recipe_toml="", language="en")
    assert other.read_text() == "mine"


def test_a_log_left_of_an_older_file_is_not_played_into_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "w.pairsmith-wal").write_bytes(b"old")
    with pytest.raises(WorkspaceExists):
        new_workspace(tmp_path)


@pytest.mark.parametrize("domain", ["", "  \n", "\x00" * 0])
def test_an_empty_domain_is_refused(tmp_path: Path, domain: str) -> None:
    with pytest.raises(UsageError):
        create_workspace(tmp_path / "w", domain=domain, recipe_toml="", language="en")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        create_workspace(tmp_path / "a" / "w", domain="x", recipe_toml="", language="en")


def test_a_domain_may_hold_anything(tmp_path: Path) -> None:
    with create_workspace(
        tmp_path / "ä ?#%41.pairsmith", domain="a\ud800\x00b\x1b]0;", recipe_toml="x\x00", language="zh"
    ) as workspace:
        assert workspace.meta("domain") == "a\ufffd\ufffdb\x1b]0;"
    with open_workspace(tmp_path / "ä ?#%41.pairsmith") as workspace:
        assert workspace.meta("language") == "zh"


def foreign(tmp_path: Path) -> None:
    conn = any_sqlite.connect(tmp_path / "w")
    conn.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    conn.close()


def newer(tmp_path: Path) -> None:
    new_workspace(tmp_path, "w").close()
    conn = any_sqlite.connect(tmp_path / "w")
    conn.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    conn.close()


def newer_in_its_log(tmp_path: Path) -> None:
    # The newer program was killed: only the log knows the newer version.
    new_workspace(tmp_path, "x").close()
    conn = connect_writing(tmp_path / "x")
    conn.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 7}")
    shutil.copy(tmp_path / "x", tmp_path / "w")
    shutil.copy(tmp_path / "x-wal", tmp_path / "w-wal")
    conn.close()


def truncated(tmp_path: Path) -> None:
    with new_workspace(tmp_path, "w") as workspace:
        add_pairs(workspace, 100)
    os.truncate(tmp_path / "w", os.path.getsize(tmp_path / "w") // 2 + 100)


def without_a_table(tmp_path: Path) -> None:
    new_workspace(tmp_path, "w").close()
    conn = any_sqlite.connect(tmp_path / "w")
    conn.execute("DROP TABLE score")
    conn.commit()
    conn.close()


BAD = {
    "empty": lambda t: (t / "w").touch(),
    "text": lambda t: (t / "w").write_text("instruction,output\n" * 40),
    "short": lambda t: (t / "w").write_bytes(b"SQLite format 3\0"),
    "header only": lambda t: (t / "w").write_bytes(b"SQLite format 3\0" + bytes(4080)),
    "foreign": foreign,
    "newer": newer,
    "newer in its log": newer_in_its_log,
    "truncated": truncated,
    "without a table": without_a_table,
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_workspace_of_ours_is_refused_untouched(tmp_path: Path, kind: str) -> None:
    BAD[kind](tmp_path)
    before = digest(tmp_path / "w")
    with pytest.raises(WorkspaceRefused) as refused:
        open_workspace(tmp_path / "w")
    assert refused.value.exit_code == 4
    assert "\n" not in str(refused.value)
    assert digest(tmp_path / "w") == before


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceRefused):
        open_workspace(tmp_path)
    with pytest.raises(WorkspaceMissing, match="pairsmith new"):
        open_workspace(tmp_path / "nothing")


def test_a_newer_file_says_so(tmp_path: Path) -> None:
    newer(tmp_path)
    with pytest.raises(WorkspaceRefused, match="newer Pairsmith"):
        open_workspace(tmp_path / "w")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_random_damage_is_an_error_of_ours_or_no_error(tmp_path: Path) -> None:
    with new_workspace(tmp_path, "good") as workspace:
        add_pairs(workspace, 60)
    good = (tmp_path / "good").read_bytes()
    rng = random.Random(5)
    for round_number in range(60):
        data = bytearray(good)
        kind = rng.choice(["flip", "zero page", "truncate"])
        if kind == "flip":
            for _ in range(rng.randint(1, 30)):
                data[rng.randrange(len(data))] ^= rng.randint(1, 255)
        elif kind == "zero page":
            page = rng.randrange(len(data) // 4096)
            data[page * 4096 : (page + 1) * 4096] = bytes(4096)
        else:
            del data[rng.randrange(len(data)) :]
        path = tmp_path / f"bad{round_number}"
        path.write_bytes(data)
        with (
            contextlib.suppress(PairsmithError),  # any other exception is a traceback for the user
            open_workspace(path, readonly=True) as workspace,
        ):
            for pair_id in range(1, 61, 7):
                workspace.read(lambda conn, n=pair_id: get_pair(conn, n))  # type: ignore[misc]
        assert path.read_bytes() == bytes(data)


def test_a_read_only_opening_reads_and_refuses_writes(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 2)
    before = digest(tmp_path / "w.pairsmith")
    with open_workspace(tmp_path / "w.pairsmith", readonly=True) as workspace:
        assert workspace.read(lambda conn: get_pair(conn, 2)).output == "Answer 1"
        with pytest.raises(WorkspaceReadOnly):
            add_pairs(workspace, 1, start=50)
    assert digest(tmp_path / "w.pairsmith") == before


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from pairsmith.pairs.store.errors import WorkspaceReadOnly
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.pair_rows import get_pair
from pairsmith.pairs.store.workspace import open_workspace
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
path = Path(sys.argv[1])
with open_workspace(path) as workspace:
    assert workspace.readonly
    assert workspace.read(lambda conn: get_pair(conn, 2)).output == "Answer 1"
    try: workspace.write(lambda conn: set_meta(conn, "x", "y"))
    except WorkspaceReadOnly as error: assert chr(10) not in str(error)
    else: raise AssertionError
assert check_workspace(path) == []
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("modes", [(0o444, 0o755), (0o644, 0o555), (0o444, 0o555)])
def test_what_may_not_be_written_opens_for_reading(modes: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as name:  # not below pytest's folder, which is only its owner's
        folder = Path(name)
        with new_workspace(folder) as workspace:
            add_pairs(workspace, 2)
        before = digest(workspace.path)
        workspace.path.chmod(modes[0])
        folder.chmod(modes[1])
        try:
            assert python(UNPRIVILEGED, workspace.path).communicate() == ("", "")
        finally:
            folder.chmod(0o755)
        assert digest(workspace.path) == before


MIGRATED = (
    *migrations.MIGRATIONS,
    "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT;\nINSERT INTO extra VALUES (1);",
)


def test_a_migration_makes_a_verified_backup_first(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 5)
    path = tmp_path / "w.pairsmith"
    backup = migrations.migrate(path, MIGRATED)
    assert backup is not None
    with open_workspace(backup) as old:
        assert old.read(lambda conn: get_pair(conn, 5)).output == "Answer 4"
    conn = any_sqlite.connect(path)
    assert conn.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    assert conn.execute("SELECT * FROM extra").fetchall() == [(1,)]
    conn.close()
    assert migrations.migrate(path, MIGRATED) is None


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    steps = MIGRATED[-1].split(";")
    with pytest.raises(sqlite3.Error):
        migrations.migrate(
            path, (*migrations.MIGRATIONS, f"{steps[0]};\n{steps[1]};\nINSERT INTO nowhere VALUES (1);")
        )
    with open_workspace(path) as workspace:
        tables = workspace.read(lambda conn: conn.execute("SELECT name FROM sqlite_schema").fetchall())
    assert ("extra",) not in tables


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    errors: list[BaseException] = []

    def run() -> None:
        try:
            migrations.migrate(path, MIGRATED)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    conn = any_sqlite.connect(path)
    assert conn.execute("SELECT * FROM extra").fetchall() == [(1,)]
    conn.close()


@pytest.mark.parametrize(
    ("version", "bug"),
    [((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 7), False),
     ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 4), False)],
)  # fmt: skip
def test_versions_with_the_wal_bug_are_known(version: tuple[int, int, int], bug: bool) -> None:
    assert has_wal_bug(version) is bug


def test_with_the_wal_bug_the_first_writer_keeps_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "wal_bug", True)
    with new_workspace(tmp_path) as workspace:
        assert workspace.job_lock.holder() is None
        add_pairs(workspace, 1)
        holder = workspace.job_lock.holder()
        assert holder is not None
        assert holder.kind == "writing"
        with workspace.job_lock.acquire("generate"):
            add_pairs(workspace, 1, start=1)
        assert workspace.job_lock.holder() == holder
        add_pairs(workspace, 1, start=2)
    with open_workspace(tmp_path / "w.pairsmith") as workspace:
        assert workspace.job_lock.holder() is None
