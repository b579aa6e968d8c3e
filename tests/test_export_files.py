"""Exporting: the same bytes again, what was exported comes back as it was, never a torn file, the choice is told."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.exporting import ExportReport, ExportSettings, export_pairs
from pairsmith.pairs.importing import import_file
from pairsmith.pairs.manifest import manifest_path
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.paging import page
from pairsmith.pairs.store.pair_rows import Pair
from pairsmith.pairs.store.scores import scores_of
from pairsmith.pairs.store.topics import add_topic, list_topics
from pairsmith.pairs.store.verdicts import decide, get_verdicts
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.verify_export import is_export, verify_export

from .stores import add_pairs, new_workspace

NASTY = [
    "👨\u200d👩\u200d👧 family", "a\u2028b\u2029c\u0085d", "\x7f \x80 \x9b[31m", "\ufeffmark", "line\r\nline\rline\n",
    "\u202eright to left\u202c", "e\u0301 and \u00e9", "NA", "007", "2020-01-01", "null", '"', "\\u0041", "{}",
    "\uffff", "\x0b\x0c\x1b[2J", "=1+1", "命令", "'", "a,b;c\td", " leading and trailing ",
]  # fmt: skip
TEXT = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40
) | st.sampled_from(NASTY)
ROWS = st.lists(
    st.builds(
        ImportRow,
        instruction=TEXT.filter(lambda text: text.strip() != ""),
        output=TEXT,
        input=TEXT,
        topic=st.sampled_from([(), ("Branching",), ("Branching", "beginner"), ("Ünïcode › topic",)]),
        verdict=st.sampled_from([None, "accepted", "rejected"]),
        rule=st.none(),
        reason=st.sampled_from(["", "wrong", *NASTY]),
        tags=st.sampled_from([(), ("fact", "tone"), ("a|b", "Ünïcode 👩\u200d👧")]),
        note=st.sampled_from(["", "see line 3", *NASTY]),
        scores=st.sampled_from([{}, {"nim:a/b": {"helpfulness": 4.15625, "verbosity": 0.1}}]),
    ),
    min_size=1,
    max_size=8,
)
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def fill(workspace: Workspace, rows: list[ImportRow]) -> None:
    workspace.write(lambda conn: import_pairs(conn, rows, BatchInfo("test", "test")))


def export(workspace: Workspace, path: Path, **fields: Any) -> ExportReport:
    return export_pairs(workspace, path, ExportSettings(**{"verdict": "any", **fields}))


def what_counts(workspace: Workspace) -> list[Any]:
    """Everything that a pair is, but for what is its workspace's."""

    def described(pair: Pair, scores: Any, verdicts: Any, paths: Any) -> Any:
        given = {judge: dict(said.scores) for judge, said in scores.get(pair.version.id, {}).items()}
        topic = paths.get(pair.topic_id, ())
        why = (
            (said.rule, said.reason, said.tags, said.note) if (said := verdicts.get(pair.version.id)) else ()
        )
        texts = pair.instruction, pair.input, pair.output
        return *texts, pair.verdict, pair.verdict_by, why, topic, given

    def read(conn: Any) -> list[Any]:
        found = page(conn, limit=100_000)[::-1]
        paths = {topic.id: topic.path for topic in list_topics(conn)}
        versions = [pair.version.id for pair in found]
        scores, verdicts = scores_of(conn, versions), get_verdicts(conn, versions)
        return [described(pair, scores, verdicts, paths) for pair in found]

    return workspace.read(read)


@QUIET
@given(rows=ROWS)
def test_what_is_exported_comes_back_as_it_was(
    rows: list[ImportRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("round")
    with new_workspace(folder, "a") as first, new_workspace(folder, "b") as second:
        fill(first, rows)
        for format_name in ("jsonl", "alpaca"):
            path = folder / f"out.{format_name}"
            export(first, path, format=format_name)
            data = path.read_bytes()
            assert b"\r" not in data
            export(first, path, format=format_name)
            assert path.read_bytes() == data
        import_file(second, folder / "out.jsonl")
        assert what_counts(second) == what_counts(first)
    with new_workspace(folder, "c") as third:
        import_file(third, folder / "out.alpaca")
        with new_workspace(folder, "d") as fourth:
            fill(fourth, rows)
            assert [pair[:3] for pair in what_counts(third)] == [pair[:3] for pair in what_counts(fourth)]


@QUIET
@given(rows=ROWS)
def test_readers_that_split_at_any_line_end_read_every_format_of_lines(
    rows: list[ImportRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    with new_workspace(folder) as workspace:
        fill(workspace, rows)
        kept = what_counts(workspace)
        for name in ("jsonl", "messages", "sharegpt", "prompt-completion"):
            export(workspace, folder / name, format=name)
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
            values = [json.loads(line) for line in lines]
            assert len(values) == len(kept)
            for value, (instruction, given_input, output, *_) in zip(values, kept, strict=True):
                asked = f"{instruction}\n\n{given_input}" if given_input else instruction
                texts = {
                    "jsonl": lambda v: [v["instruction"], v["output"]],
                    "messages": lambda v: [m["content"] for m in v["messages"]],
                    "sharegpt": lambda v: [m["value"] for m in v["conversations"]],
                    "prompt-completion": lambda v: [v["prompt"][0]["content"], v["completion"][0]["content"]],
                }[name](value)
                assert texts == [instruction if name == "jsonl" else asked, output]


def test_csv_is_read_back_by_the_standard_library(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow(f"{n} {text}", text, text) for n, text in enumerate(NASTY)])
        export(workspace, tmp_path / "out.csv", format="csv")
        text = (tmp_path / "out.csv").read_bytes().decode("utf-8")
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        assert header == ["instruction", "input", "output"]
        assert rows == [[f"{n} {text}", text, text] for n, text in enumerate(NASTY)]


def test_the_verdict_chooses(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        ids = add_pairs(workspace, 10)
        workspace.write(lambda conn: decide(conn, ids[:3], "accepted"))
        workspace.write(lambda conn: decide(conn, ids[3:5], "rejected"))
        default = export_pairs(workspace, tmp_path / "out", ExportSettings())
        assert (default.pairs, default.verdicts) == (8, {"undecided": 5, "accepted": 3})
        assert export(workspace, tmp_path / "out", verdict="accepted").pairs == 3
        assert export(workspace, tmp_path / "out").verdicts == {"undecided": 5, "accepted": 3, "rejected": 2}


def test_only_pairs_for_which_the_expression_is_true_are_taken(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow(f"i{n}", "o", scores={"j": {"helpfulness": float(n)}}) for n in range(5)])
        add_pairs(workspace, 3)
        report = export(workspace, tmp_path / "out", where="helpfulness >= 3")
        assert (report.pairs, report.left_out) == (2, 6)
        # "not" of what is unknown is unknown: pairs without a score are in neither half
        assert export(workspace, tmp_path / "out", where="not helpfulness >= 3").pairs == 3


def test_a_score_goes_stale_with_an_edit(tmp_path: Path) -> None:
    from pairsmith.pairs.store.edits import edit_pair
    from pairsmith.pairs.store.pair_rows import get_pair

    with new_workspace(tmp_path) as workspace:
        (pair_id,) = add_pairs(workspace, 1)
        version = workspace.read(lambda conn: get_pair(conn, pair_id)).version.id
        workspace.write(
            lambda conn: add_judgement(
                conn, version, Judgement("j", "json", scores={"helpfulness": Score(4.0)})
            )
        )
        assert export(workspace, tmp_path / "out", where="helpfulness >= 3").pairs == 1
        workspace.write(lambda conn: edit_pair(conn, pair_id, output="edited"))
        with pytest.raises(PairsmithError, match="no pair"):
            export(workspace, tmp_path / "out", where="helpfulness >= 3")


def test_balanced_topics_have_equally_many_and_the_seed_chooses(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        topics = workspace.write(lambda conn: [add_topic(conn, name) for name in ("A", "B", "C")])
        for start, (topic, count) in enumerate(zip(topics, (4, 20, 9), strict=True)):
            add_pairs(workspace, count, start=start * 100, topic_id=topic)
        report = export(workspace, tmp_path / "one", balance_topics=True)
        assert report.topics == {("A",): 4, ("B",): 4, ("C",): 4}
        assert (report.pairs, report.balanced_out) == (12, 21)
        export(workspace, tmp_path / "two", balance_topics=True)
        assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
        export(workspace, tmp_path / "two", balance_topics=True, seed=1)
        assert (tmp_path / "two").read_bytes() != (tmp_path / "one").read_bytes()


def test_where_nothing_is_chosen_the_old_file_stays(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        (tmp_path / "out").write_text("old")
        with pytest.raises(PairsmithError, match="no pair is accepted"):
            export(workspace, tmp_path / "out", verdict="accepted")
        with pytest.raises(UsageError, match="not a format"):
            export(workspace, tmp_path / "out", format="nonsense")
        assert (tmp_path / "out").read_text() == "old"


def test_a_stopped_export_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 500)
        (tmp_path / "out").write_text("old")
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(Stopped):
            export_pairs(workspace, tmp_path / "out", ExportSettings(), check=stop)
        assert (tmp_path / "out").read_text() == "old"
        assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_a_killed_export_leaves_the_old_file_or_the_new_one(format_name: str, tmp_path: Path) -> None:
    kill_exports(format_name, tmp_path, 2)


@pytest.mark.faults
@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_sixty_killed_exports_leave_the_old_file_or_the_new_one(format_name: str, tmp_path: Path) -> None:
    kill_exports(format_name, tmp_path, 60)


def everything(path: Path) -> dict[str, bytes]:
    """A file's bytes, or those of all files of a folder."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def put_back(path: Path, files: dict[str, bytes]) -> None:
    """Make it as `everything` found it, without the manifest beside a file."""
    manifest_path(path).unlink(missing_ok=True)
    if "" in files:
        path.write_bytes(files[""])
        return
    shutil.rmtree(path)
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


CHILD = """
import sys
from pathlib import Path
from pairsmith.pairs.exporting import ExportSettings, export_pairs
from pairsmith.pairs.store.workspace import open_workspace
workspace, out, format = open_workspace(Path(sys.argv[1]), readonly=True), Path(sys.argv[2]), sys.argv[3]
export_pairs(workspace, out.with_name("warm"), ExportSettings(format, "any"))
print("ready", flush=True)
while True:
    export_pairs(workspace, out, ExportSettings(format, "any"))
"""


def kill_exports(format_name: str, folder: Path, times: int) -> None:
    """An earlier export of half the pairs is replaced by one of all of them, and that is killed, again and again."""
    out = folder / "out"
    with new_workspace(folder) as workspace:
        fill(
            workspace,
            [
                ImportRow(
                    f"Question {n // 2}",
                    f"Answer {n}",
                    topic=("Old",) if n < 1500 else (),
                    verdict="rejected" if n % 2 else "accepted",
                )
                for n in range(3000)
            ],
        )
        export(workspace, out, format=format_name)
        new = everything(out)
        export(workspace, out, format=format_name, where="topic == 'Old'")
        old = everything(out)
    assert old != new
    for number in range(times):
        put_back(out, old)
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD, str(folder / "w.pairsmith"), str(out), format_name],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.013 * (number % 17))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert everything(out) in (old, new)
        if is_export(out):
            assert verify_export(out).problems == []
    with new_workspace(folder, "other") as workspace:
        fill(workspace, [ImportRow("q", "a", verdict="accepted"), ImportRow("q", "b", verdict="rejected")])
        export(workspace, out, format=format_name)
    assert not [path for path in folder.glob(".*.tmp-*") if ".warm." not in path.name]
