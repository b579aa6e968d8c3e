"""`pairsmith import WORKSPACE hf:OWNER/NAME` against a Hub of ours: which files, how large, which revision, faults."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.hub_layout import NoSuchPart, choose_files, is_safe
from pairsmith.pairs.hub_names import HubSource, read_hub_source
from pairsmith.pairs.store.workspace import open_workspace

from .command_line import Ran, fingerprint, git_rows, run, run_here
from .pushes import environment, no_token_in, texts
from .servers.hub import TOKEN, Fault, Hub


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("template") / "w.pairsmith"
    assert run("new", path, "--domain", "x").code == 0
    return path.read_bytes()


@pytest.fixture
def workspace(tmp_path: Path, template: bytes) -> Path:
    path = tmp_path / "w.pairsmith"
    path.write_bytes(template)
    return path


def take(workspace: Path, hub: Hub, source: str, *words: str, env: Mapping[str, str] | None = None) -> Ran:
    given = environment(hub, workspace.parent / "home") | dict(env or {})
    return run_here("import", workspace, source, *words, env=given)


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def test_several_files_of_two_splits_are_one_import_with_its_revision_in_the_provenance(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    files = {
        "data/train-00000-of-00002.parquet": table(git_rows(3)),
        "data/train-00001-of-00002.parquet": table(git_rows(3, 3)),
        "data/test-00000-of-00001.parquet": table(git_rows(2, 6)),
        "loader.py": b"raise SystemExit('never run')",
        "README.md": b"# no front matter",
    }
    repo = hub.dataset("org/git", files, private=False)
    done = take(workspace, hub, "hf:org/git", "--json")
    assert done.code == 0, done
    assert (done.json["added"], done.json["files"], done.json["revision"]) == (8, 3, repo.head.oid)
    assert len(texts(workspace)) == 8
    assert hub.count("loader.py") == 0
    with open_workspace(workspace, readonly=True) as opened:
        rows = opened.read(lambda conn: conn.execute("SELECT source, format FROM import_batch").fetchall())
    assert rows == [(f"hf:org/git@{repo.head.oid}", "parquet")]
    out = tmp_path / "out.jsonl"
    run("export", workspace, out)
    assert repo.head.oid in (tmp_path / "out.jsonl.manifest.json").read_text()
    assert list((tmp_path / "home" / "hub" / "import").rglob("*.parquet")) == []


def test_the_card_says_which_files_are_which_configuration_and_split(workspace: Path, hub: Hub) -> None:
    card = (
        b"---\nconfigs:\n- config_name: easy\n  default: true\n  data_files:\n"
        b"  - split: train\n    path: easy/*.jsonl\n  - split: held_out\n    path: [easy/last.json]\n"
        b"- config_name: hard\n  data_files: hard/**\n---\n# Card\n"
    )
    files = {
        "README.md": card,
        "easy/a.jsonl": jsonl(git_rows(2)),
        "easy/last.json": json.dumps(git_rows(1, 10)).encode(),
        "hard/x/y.csv": b"instruction,output\nq,r\n",
    }
    hub.dataset("org/git", files, private=False)
    assert take(workspace, hub, "hf:org/git:hard", "--json").json["added"] == 1
    assert take(workspace, hub, "hf:org/git:easy/held_out", "--json").json["added"] == 1
    assert take(workspace, hub, "hf:org/git:/train", "--json").json["added"] == 2
    take(workspace, hub, "hf:org/git:other").assert_one_line_error(
        1, "no configuration 'other'", "easy, hard"
    )
    take(workspace, hub, "hf:org/git:easy/none").assert_one_line_error(1, "no split", "train, held_out")


def test_an_older_revision_is_read_where_it_is_named(workspace: Path, hub: Hub) -> None:
    repo = hub.dataset("org/git", {"a.jsonl": jsonl(git_rows(2))}, private=False)
    old = repo.head.oid
    repo.commit({"a.jsonl": jsonl(git_rows(5))})
    assert take(workspace, hub, f"hf:org/git@{old}", "--json").json["added"] == 2
    assert take(workspace, hub, "hf:org/git", "--json").json["added"] == 3
    take(workspace, hub, "hf:org/git@gone").assert_one_line_error(1, "404")


def test_the_size_is_asked_first_and_a_cap_refuses_with_the_figure_and_the_option(
    workspace: Path, hub: Hub
) -> None:
    rows = [{"instruction": f"q{n}", "output": "x" * 1000} for n in range(3000)]
    hub.dataset("org/big", {"train.jsonl": jsonl(rows)}, private=False)
    before = fingerprint(workspace)
    done = take(workspace, hub, "hf:org/big", "--max-size", "1")
    done.assert_one_line_error(1, "are 3 MB", "1 MB are allowed", "--max-size 4")
    assert hub.count("resolve|store") == 0
    assert fingerprint(workspace) == before
    assert take(workspace, hub, "hf:org/big", "--max-size", "4", "--json").json["added"] == 3000


def test_preview_changes_nothing_and_the_import_after_it_downloads_nothing_again(
    workspace: Path, hub: Hub
) -> None:
    hub.dataset("org/git", {"train.parquet": table(git_rows(4))}, private=False)
    done = take(workspace, hub, "hf:org/git", "--preview")
    assert "would import 4 pairs" in done.out
    assert texts(workspace) == []
    hub.seen.clear()
    assert take(workspace, hub, "hf:org/git").code == 0
    assert hub.count("GET /store") == 0
    assert len(texts(workspace)) == 4


def test_refused_rows_are_named_by_number_through_all_files(workspace: Path, hub: Hub) -> None:
    files = {"train-0.jsonl": jsonl(git_rows(3)), "train-1.jsonl": jsonl([{"other": 1}, *git_rows(2, 5)])}
    hub.dataset("org/git", files, private=False)
    done = take(workspace, hub, "hf:org/git")
    assert done.code == 0, done
    assert "row 4: " in done.out


def test_a_private_dataset_needs_the_token_and_gets_it_alone(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    hub.dataset("me/secret", {"train.parquet": table(git_rows(2))})
    take(workspace, hub, "hf:me/secret", env={"HF_TOKEN": ""}).assert_one_line_error(
        1, "me/secret", "HF_TOKEN"
    )
    done = take(workspace, hub, "hf:me/secret")
    assert done.code == 0, done
    assert hub.count("GET /store/")
    assert all("authorization" not in one.headers for one in hub.seen if one.path.startswith("/store/"))
    no_token_in(tmp_path, done.out, done.err)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("GET .*/tree/", 500, times=99), ("4 s", "500")),
        (Fault("GET .*/tree/", "hang", times=99), ("did not answer within 4 s", "--timeout")),
        (Fault("GET /store/", "slow", times=99), ("did not answer within 4 s",)),
        (Fault("GET /store/", "spoil", times=99), ("checksum",)),
        (Fault("GET .*/tree/", 429, times=99, headers={"Retry-After": "900"}), ("4 s", "Waiting 901")),
        (Fault("GET /api/datasets", 401, times=99, body=f'{{"error": "no {TOKEN}"}}'), ("401", "expired")),
    ],
    ids=str,
)
def test_a_fault_changes_nothing_and_says_what_to_do(
    workspace: Path, hub: Hub, tmp_path: Path, fault: Fault, words: tuple[str, ...]
) -> None:
    hub.dataset("org/git", {"train.parquet": table(git_rows(9))}, private=False)
    before = fingerprint(workspace)
    hub.faults.append(fault)
    patience = "4" if any("4 s" in word for word in words) else "60"
    done = take(workspace, hub, "hf:org/git", "--timeout", patience)
    done.assert_one_line_error(1, *words)
    assert fingerprint(workspace) == before
    no_token_in(tmp_path, done.out, done.err)
    hub.faults.clear()
    assert take(workspace, hub, "hf:org/git", "--json").json["added"] == 9


@pytest.mark.parametrize("fault", [Fault("GET /store/", 503, times=2), Fault("GET /store/", "cut")], ids=str)
def test_a_passing_fault_is_survived(workspace: Path, hub: Hub, fault: Fault) -> None:
    hub.dataset("org/git", {"train.parquet": table(git_rows(9))}, private=False)
    hub.faults.append(fault)
    assert take(workspace, hub, "hf:org/git", "--json").json["added"] == 9


def test_gated_missing_and_empty_are_told_apart(workspace: Path, hub: Hub) -> None:
    hub.dataset("org/gated", {"train.jsonl": jsonl(git_rows(2))}, private=False, gated=True)
    take(workspace, hub, "hf:org/gated").assert_one_line_error(1, "not open to you", "Accept its terms")
    take(workspace, hub, "hf:org/none").assert_one_line_error(1, "404", "org/none")
    hub.dataset("org/code", {"script.py": b"x", "data.zip": b"x", "w.pkl": b"x"}, private=False)
    take(workspace, hub, "hf:org/code").assert_one_line_error(1, "no Parquet")


def test_a_database_under_another_name_is_not_opened(workspace: Path, hub: Hub, template: bytes) -> None:
    for name, words in (("ours", ("kind workspace",)), ("named", ("kind workspace",))):
        hub.dataset(f"org/{name}", {"train.jsonl": template}, private=False)
        format_ = ("--format", "workspace") if name == "named" else ()
        take(workspace, hub, f"hf:org/{name}", *format_).assert_one_line_error(1, *words)


def test_a_parquet_bomb_is_refused_in_the_limited_child(workspace: Path, hub: Hub) -> None:
    rows = 50_000
    file = io.BytesIO()
    text = pa.array(["x" * 4000]).dictionary_encode()
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), text.dictionary)
    parquet.write_table(pa.table({"instruction": column, "output": column}), file)
    hub.dataset("org/bomb", {"train.parquet": file.getvalue()}, private=False)
    done = take(workspace, hub, "hf:org/bomb")
    done.assert_one_line_error(1, "cannot be read")
    assert texts(workspace) == []


def test_names_with_their_parts_are_read() -> None:
    assert read_hub_source("hf:a/b") == HubSource("a/b")
    assert read_hub_source("hf:a/b@v1.0:c/d") == HubSource("a/b", "v1.0", "c", "d")
    assert read_hub_source("hf:a/b:/test") == HubSource("a/b", None, None, "test")
    for text in ("hf:a/b@v1.0:c/d", "hf:a/b", "hf:a/b:c", "hf:a/b:/d"):
        assert str(read_hub_source(text)) == text


@pytest.mark.parametrize(
    "text", ["hf:", "hf:a", "hf:a/b/c", "hf:../x", "hf:a/b@", "hf:a/b@../x", "hf:a/b:c/", "hf:a b/c"]
)
def test_odd_sources_are_wrong_usage(text: str, workspace: Path, hub: Hub) -> None:
    with pytest.raises(UsageError):
        read_hub_source(text)
    take(workspace, hub, text).assert_one_line_error(2, "hf:OWNER/NAME")
    assert hub.seen == []


def test_hostile_paths_and_cards_are_never_followed() -> None:
    for path in (
        "../x.jsonl",
        "/etc/x.jsonl",
        "a//b.jsonl",
        "a\\b.jsonl",
        "C:x.jsonl",
        "a/\0.jsonl",
        "x" * 600,
    ):
        assert not is_safe(path)
    with pytest.raises(NoSuchPart):
        choose_files(["../../x.jsonl", ".hidden/x.jsonl", "dataset_infos.json"], {}, None, None)
    for card in (
        {"configs": "x"},
        {"configs": [1, None, {"data_files": {"train": 7}}]},
        {"configs": {"a": []}},
    ):
        assert choose_files(["train.jsonl"], card, None, None).paths == ("train.jsonl",)
    many = {"configs": [{"config_name": "a", "data_files": "*" * 300 + "x"}]}
    assert choose_files(["a" * 150 + ".jsonl"], many, None, None).paths


@pytest.mark.parametrize(
    ("paths", "split", "chosen"),
    [
        (["train.csv", "train.parquet"], None, ["train.parquet"]),
        (["data/val-0.jsonl", "data/train-0.jsonl"], None, ["data/train-0.jsonl", "data/val-0.jsonl"]),
        (["data/val-0.jsonl", "data/train-0.jsonl"], "validation", ["data/val-0.jsonl"]),
        (["questions.json", "config.json", "manifest.json"], None, ["questions.json"]),
        (["latest.jsonl", "contest.jsonl"], None, ["contest.jsonl", "latest.jsonl"]),
    ],
)
def test_files_are_chosen_by_their_names_as_datasets_does(
    paths: list[str], split: str | None, chosen: list[str]
) -> None:
    assert list(choose_files(paths, {}, None, split).paths) == chosen
