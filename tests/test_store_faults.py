"""Kills, full disks and other processes: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from pairsmith.pairs.store import journal
from pairsmith.pairs.store.driver import sqlite3, wal_bug
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.errors import DiskFull, DuplicatePair, WorkspaceBusy
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.integrity import check_search_index, check_workspace
from pairsmith.pairs.store.joblock import JobLock
from pairsmith.pairs.store.paging import snapshot_ids
from pairsmith.pairs.store.pair_rows import get_pair
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import open_workspace
from tests.stores import add_pairs, new_workspace, python

REVIEWER = """
import random, sys
from pathlib import Path
from pairsmith.pairs.store import journal
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import open_workspace

rng = random.Random(int(sys.argv[2]))
stamp = sys.argv[2]
with open_workspace(Path(sys.argv[1])) as workspace:
    print("ready", flush=True)
    for n in range(100000):
        kind = rng.choice(["add", "decide", "edit", "undo", "redo"])
        pair = rng.randint(1, 20)
        if kind == "add":
            done = workspace.write(lambda c: add_pair(c, NewPair(f"{stamp} {n}", "x")))
        elif kind == "decide":
            verdict = rng.choice(["accepted", "rejected"])
            workspace.write(lambda c: decide(c, [pair], verdict))
            done = f"{pair} {verdict}"
        elif kind == "edit":
            workspace.write(lambda c: edit_pair(c, pair, output=f"edit {stamp} {n}"))
            done = f"{pair} {stamp} {n}"
        else:
            entry = workspace.write(journal.undo if kind == "undo" else journal.redo)
            done = entry.id if entry else 0
        top = workspace.read(lambda c: max((e.id for e in journal.history(c, 1)), default=0))
        print("ack", kind, top, done, flush=True)
"""


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.faults)])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, kills: int) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 20)
        path = workspace.path
    rng = random.Random(kills)
    added: set[int] = set()
    heard = 0
    for number in range(kills):
        child = python(REVIEWER, path, number)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.01, 0.4))
        child.send_signal(signal.SIGKILL)
        lines = child.communicate()[0].splitlines()
        acknowledged = [line.split() for line in lines if line.startswith("ack ") and len(line.split()) >= 4]
        added |= {int(words[3]) for words in acknowledged if words[1] == "add"}
        with open_workspace(path) as workspace:
            ids = set(workspace.read(lambda conn: snapshot_ids(conn)))
            newest = workspace.read(lambda conn: journal.history(conn, 1))
        assert added <= ids
        tops = [int(words[2]) for words in acknowledged]
        assert not tops or newest[0].id >= max(tops)
        heard += len(acknowledged)
    assert heard
    assert check_workspace(path) == []
    assert check_search_index(path) == []


def test_undo_goes_on_after_a_kill_in_the_middle_of_a_session(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 20)
        path = workspace.path
    child = python(REVIEWER, path, 3)
    assert child.stdout is not None
    for _ in range(60):
        child.stdout.readline()
    child.kill()
    child.communicate()
    with open_workspace(path) as workspace:
        while workspace.write(journal.undo) is not None:
            pass
        for pair_id in range(1, 21):
            pair = workspace.read(lambda conn, n=pair_id: get_pair(conn, n))  # type: ignore[misc]
            assert (pair.verdict, pair.output, pair.versions) == ("undecided", f"Answer {pair_id - 1}", 1)


@pytest.mark.skipif(wal_bug, reason="this SQLite allows one writing process only")
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.faults)])
def test_two_processes_write_and_lose_nothing(tmp_path: Path, count: int) -> None:
    code = """
import sys
from pathlib import Path
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.workspace import open_workspace
with open_workspace(Path(sys.argv[1])) as workspace:
    for n in range(int(sys.argv[3])):
        workspace.write(lambda c: add_pair(c, NewPair(f"{sys.argv[2]} {n}", "x")))
"""
    new_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    children = [python(code, path, name, count) for name in "abc"]
    with open_workspace(path) as workspace:
        add_pairs(workspace, count)
        for child in children:
            assert child.communicate()[1] == ""
        assert len(workspace.read(lambda conn: snapshot_ids(conn))) == 4 * count
    assert check_workspace(path) == []


def test_a_writer_that_waits_too_long_names_the_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairsmith.pairs.store.connection.BUSY_MS", 50)
    new_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    code = """
import sys
from pathlib import Path
from pairsmith.pairs.store.connection import connect_writing
from pairsmith.pairs.store.joblock import JobLock
lock = JobLock(Path(sys.argv[1])).acquire("generate")
conn = connect_writing(Path(sys.argv[1]))
conn.execute("BEGIN IMMEDIATE")
print("holding", flush=True)
sys.stdin.read()
"""
    child = python(code, path)
    assert child.stdout is not None
    child.stdout.readline()
    with open_workspace(path) as workspace:
        with pytest.raises(WorkspaceBusy) as busy:
            add_pairs(workspace, 1)
        assert busy.value.pid == child.pid
        assert busy.value.exit_code == 75
        assert str(child.pid) in str(busy.value)
        child.kill()
        child.communicate()
        add_pairs(workspace, 1)


HOLDER = """
import sys
from pathlib import Path
from pairsmith.pairs.store.joblock import JobLock
lock = JobLock(Path(sys.argv[1])).acquire("generate")
print("holding", flush=True)
sys.stdin.read()
lock.release()
"""


def test_a_second_job_is_refused_with_the_holders_pid_until_it_is_killed(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    child = python(HOLDER, path)
    assert child.stdout is not None
    assert child.stdout.readline() == "holding\n"
    lock = JobLock(path)
    holder = lock.holder()
    assert holder is not None
    assert (holder.pid, holder.kind) == (child.pid, "generate")
    with pytest.raises(WorkspaceBusy) as busy:
        lock.acquire("judge")
    assert busy.value.pid == child.pid
    child.kill()
    child.communicate()
    assert lock.holder() is None
    with lock.acquire("judge"):
        mine = JobLock(path).holder()
        assert mine is not None
        assert (mine.pid, mine.kind) == (os.getpid(), "judge")
        with pytest.raises(WorkspaceBusy):
            JobLock(path).acquire("generate")
    assert lock.holder() is None
    assert not lock.path.exists()


def test_of_many_who_want_the_lock_at_once_one_has_it(tmp_path: Path) -> None:
    """Holders take the file away when they release it: nobody may lock a file that is gone."""
    new_workspace(tmp_path).close()
    code = """
import sys, time
from pathlib import Path
from pairsmith.pairs.store.errors import WorkspaceBusy
from pairsmith.pairs.store.joblock import JobLock
mark = Path(sys.argv[1] + ".mark")
end = time.monotonic() + 1.0
taken = 0
while time.monotonic() < end:
    try:
        lock = JobLock(Path(sys.argv[1])).acquire("generate")
    except WorkspaceBusy:
        continue
    mark.touch(exist_ok=False)
    mark.unlink()
    taken += 1
    lock.release()
print(taken)
"""
    children = [python(code, tmp_path / "w.pairsmith") for _ in range(4)]
    results = [child.communicate() for child in children]
    assert [err for _, err in results] == [""] * 4
    assert sum(int(out) for out, _ in results) > 0


def test_a_fork_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    code = HOLDER.replace(
        'print("holding"', 'import os, time\nif os.fork() == 0: time.sleep(30)\nprint("holding"'
    )
    child = python(code, tmp_path / "w.pairsmith", start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    try:
        JobLock(tmp_path / "w.pairsmith").acquire("judge").release()
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def test_a_lock_file_with_anything_in_it_is_no_lock(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    for junk in (b"", b"{", b"\xff" * 50, b'{"pid": "x"}', b"[]"):
        (tmp_path / "w.pairsmith.lock").write_bytes(junk)
        lock = JobLock(tmp_path / "w.pairsmith")
        assert lock.holder() is None
        lock.acquire("generate").release()


def fill(conn: sqlite3.Connection, start: int) -> None:
    import_pairs(conn, (ImportRow(f"{start} {n}", "word " * 400) for n in range(200)), BatchInfo("f", "x"))


def test_a_full_database_stores_all_or_nothing_and_goes_on(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 5)
        pages = workspace.write(lambda conn: conn.execute("PRAGMA page_count").fetchone()[0])
        workspace._writer.submit(lambda conn: conn.execute(f"PRAGMA max_page_count = {pages + 5}")).result()
        with pytest.raises(DiskFull) as full:
            workspace.write(lambda conn: fill(conn, 0))
        assert "\n" not in str(full.value)
        assert len(workspace.read(lambda conn: snapshot_ids(conn))) == 5
        assert workspace.read(journal.history) == []
        workspace._writer.submit(lambda conn: conn.execute("PRAGMA max_page_count = 1000000")).result()
        workspace.write(lambda conn: fill(conn, 0))
        assert len(workspace.read(lambda conn: snapshot_ids(conn))) == 205
    assert check_workspace(workspace.path) == []


LIMITED = """
import resource, sys
from pathlib import Path
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.workspace import create_workspace, open_workspace
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
done = 0
try:
    path = Path(sys.argv[1])
    if not path.exists():
        create_workspace(path, domain="x", recipe_toml="", language="en").close()
    with open_workspace(path) as workspace:
        while done < 2000:
            workspace.write(lambda c: add_pair(c, NewPair(f"{size} {done}", "word " * 400)))
            done += 1
except PairsmithError as error:
    print(done, type(error).__name__, str(error).count(chr(10)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    path = tmp_path / "w.pairsmith"
    limit = path.stat().st_size + 300_000
    child = python(LIMITED, path, limit)
    out, err = child.communicate()
    assert err == ""
    done, kind, lines = out.split()
    assert (kind, lines) == ("DiskFull", "0")
    assert check_workspace(path) == []
    with open_workspace(path) as workspace:
        assert len(workspace.read(lambda conn: snapshot_ids(conn))) == int(done)
        add_pairs(workspace, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [0, 1, 5000, 50_000, 100_000])
def test_a_workspace_that_cannot_be_made_leaves_no_file(tmp_path: Path, limit: int) -> None:
    out, err = python(LIMITED, tmp_path / "w.pairsmith", limit).communicate()
    assert err == ""
    assert out.split()[1:] == ["DiskFull", "0"]
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_a_workspace_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from pairsmith.pairs.store.workspace import create_workspace
print("go", flush=True)
for n in range(10000):
    create_workspace(Path(sys.argv[1]) / f"{n}.pairsmith", domain="x", recipe_toml="", language="en").close()
"""
    child = python(code, tmp_path)
    assert child.stdout is not None
    child.stdout.readline()
    while child.poll() is None and not list(tmp_path.glob("[0-9]*.pairsmith")):
        time.sleep(0.01)
    time.sleep(0.4)
    child.kill()
    child.communicate()
    made = list(tmp_path.glob("[0-9]*.pairsmith"))
    assert made
    for path in made:
        open_workspace(path).close()


def test_a_torn_log_loses_only_its_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "w.pairsmith"
    workspace = new_workspace(tmp_path)
    for n in range(30):
        add_pairs(workspace, 1, start=n)
    rng = random.Random(4)
    kept = []
    for number in range(25):
        copy = tmp_path / f"c{number}"
        shutil.copy(path, copy)
        log = bytearray(Path(f"{path}-wal").read_bytes())
        cut = rng.randrange(len(log))
        Path(f"{copy}-wal").write_bytes(log[:cut] + bytes(rng.randrange(5000)) if number % 2 else log[:cut])
        with open_workspace(copy) as torn:
            ids = list(torn.read(lambda conn: snapshot_ids(conn)))
        assert ids == list(range(len(ids), 0, -1))
        assert check_workspace(copy) == []
        kept.append((cut, len(ids)))
    workspace.close()
    counts = [count for _, count in sorted(kept)]
    assert counts == sorted(counts)
    assert counts[-1] > 20


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_every_commit_is_flushed(tmp_path: Path) -> None:
    new_workspace(tmp_path).close()
    code = (
        "import sys; from pathlib import Path\n"
        "from pairsmith.pairs.store.meta import set_meta\n"
        "from pairsmith.pairs.store.workspace import open_workspace\n"
        "with open_workspace(Path(sys.argv[1])) as w:\n"
        "    for n in range(100): w.write(lambda c: set_meta(c, 'x', str(n)))\n"
    )
    trace = tmp_path / "trace"
    os.spawnlp(
        os.P_WAIT, "strace", "strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace),
        sys.executable, "-c", code, str(tmp_path / "w.pairsmith"),
    )  # fmt: skip
    assert sum("sync(" in line for line in trace.read_text().splitlines()) >= 100


def test_every_statement_that_fails_once_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Interrupt the n-th thousand of steps of an act, for every n until it passes."""
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 30)
        interrupted = 0
        for n in range(1, 400):

            def act(conn: sqlite3.Connection, n: int = n) -> None:
                count = 0

                def handler() -> int:
                    nonlocal count
                    count += 1
                    return int(count == n)

                conn.set_progress_handler(handler, 20)
                try:
                    edit_pair(conn, 7, output="edited")
                    decide(conn, [7, 8, 9], "accepted")
                finally:
                    conn.set_progress_handler(None, 0)

            try:
                workspace.write(act)
            except sqlite3.OperationalError:
                interrupted += 1
                assert workspace.read(journal.history) == []
                assert workspace.read(lambda conn: get_pair(conn, 7)).output == "Answer 6"
            else:
                break
        assert interrupted > 5
        assert workspace.read(lambda conn: get_pair(conn, 7)).verdict == "accepted"
    assert check_workspace(workspace.path) == []


def test_memory_stays_small_while_a_large_file_is_imported(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        rows = (ImportRow(f"{n}", f"{n} word " * 1000) for n in range(5000))
        tracemalloc.start()
        report = workspace.write(lambda conn: import_pairs(conn, rows, BatchInfo("f", "x")))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert report.added == 5000
    assert peak < 15_000_000  # of 50 MB


def test_a_duplicate_names_the_other_pair(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
        with pytest.raises(DuplicatePair) as duplicate:
            add_pairs(workspace, 1, start=1)
        assert duplicate.value.pair_id == 2
        with pytest.raises(DuplicatePair) as edited:
            workspace.write(lambda conn: edit_pair(conn, 1, instruction="question  NUMBER 2", output="else"))
        assert edited.value.pair_id == 3
