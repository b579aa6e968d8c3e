"""GGUF files: what is wrong with one is said in a line; what fits is chosen; what is there is found."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.backends import errors
from pairsmith.backends.llama_cpp.backend import open_llama_cpp
from pairsmith.backends.llama_cpp.catalogue import find_models, resolve
from pairsmith.backends.llama_cpp.gguf import GgufInfo, read_gguf
from pairsmith.backends.llama_cpp.options import LlamaOptions, options_from
from pairsmith.backends.llama_cpp.sizing import Machine, NotEnoughMemory, make_plan, scoring_plan
from pairsmith.backends.protocol import Request
from pairsmith.backends.registry import Settings

from .tiny_gguf import make_tiny_gguf

GIB = 1 << 30


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gguf(tmp_path_factory.mktemp("models") / "good.gguf")


def test_a_head_is_read_without_llama_cpp(good: Path) -> None:
    info = read_gguf(good)
    assert (info.architecture, info.context_length, info.n_layer) == ("llama", 1024, 2)
    assert info.kv_bytes_per_token == 2 * 2 * 2 * 32
    assert info.chat_template
    assert info.n_vocab == 408


def spoiled(good: Path, path: Path, kind: str) -> Path:
    raw = good.read_bytes()
    content = {
        "empty": b"",
        "text": b"hello, this is not a model at all",
        "zip": b"PK\x03\x04" + raw[4:],
        "head only": raw[:20],
        "cut head": raw[:1000],
        "cut data": raw[:-1],
        "version 9": raw[:4] + struct.pack("<I", 9) + raw[8:],
        "lying counts": raw[:8] + struct.pack("<QQ", 1 << 60, 1 << 60) + raw[24:],
        "lying string": raw[:24] + struct.pack("<Q", 1 << 62) + raw[32:],
    }[kind]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "not a GGUF"),
        ("text", "not a GGUF"),
        ("zip", "not a GGUF"),
        ("head only", "damaged"),
        ("cut head", "damaged"),
        ("cut data", "cut or damaged"),
        ("version 9", "version 9"),
        ("lying counts", "damaged"),
        ("lying string", "damaged"),
    ],
)
async def test_a_spoiled_file_is_named_with_what_is_wrong(
    good: Path, tmp_path: Path, kind: str, said: str
) -> None:
    backend = open_llama_cpp(str(spoiled(good, tmp_path / "model.gguf", kind)), Settings())
    try:
        with pytest.raises(errors.NoSuchModel, match=said) as caught:
            await backend.complete(Request(prompt="x", max_tokens=1))
        assert "\n" not in str(caught.value)
        assert caught.value.fatal
        health = await backend.health()
        assert not health.ok
        assert said in health.summary
    finally:
        await backend.close()


async def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "odd.gguf", extra={"general.architecture": "lxyza"})
    backend = open_llama_cpp(str(path), Settings())
    try:
        with pytest.raises(errors.NoSuchModel, match="'lxyza'"):
            await backend.capabilities()
    finally:
        await backend.close()


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(errors.NoSuchModel, match="does not exist"):
        open_llama_cpp(str(tmp_path / "nothing.gguf"), Settings())
    with pytest.raises(errors.NoSuchModel, match="is called 'nothing'"):
        open_llama_cpp("nothing", Settings(env={"HOME": str(tmp_path)}, home=tmp_path))


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(errors.NoSuchModel, match="is a folder"):
        read_gguf(tmp_path)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(4, 3000), junk=st.binary(min_size=1, max_size=16))
def test_no_spoiled_head_does_more_than_raise_our_error(
    good: Path, tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    raw = bytearray(good.read_bytes())
    raw[at : at + len(junk)] = junk
    path = tmp_path_factory.getbasetemp() / "junk.gguf"
    path.write_bytes(raw)
    with contextlib.suppress(errors.NoSuchModel):
        read_gguf(path)


def llama_8b() -> GgufInfo:
    return GgufInfo(Path("8b.gguf"), 5 * GIB, "llama", "8B", 131072, 32, 128256, 131072, 15, "x")


def machine(cpus: int = 8, memory: int = 32 * GIB, *, wide: bool = True, gpus: int = 0) -> Machine:
    return Machine(cpus, cpus, memory, wide, gpus, memory if gpus else 0)


def test_a_large_model_gets_a_cache_that_fits() -> None:
    plan = make_plan(llama_8b(), LlamaOptions(), machine(memory=8 * GIB))
    assert plan.n_ctx * 131072 + 5 * GIB < 8 * GIB
    assert plan.window == plan.n_ctx


def test_too_little_memory_says_what_would_fit() -> None:
    with pytest.raises(NotEnoughMemory, match=r"up to .* would fit"):
        make_plan(llama_8b(), LlamaOptions(), machine(memory=4 * GIB))
    with pytest.raises(NotEnoughMemory, match=r"PAIRSMITH_LLAMA_CTX=\d+"):
        make_plan(llama_8b(), LlamaOptions(ctx=100_000), machine(memory=8 * GIB))


async def test_too_little_memory_is_one_clear_error(good: Path) -> None:
    backend = open_llama_cpp(str(good), Settings(n_ctx=2_000_000_000))
    try:
        with pytest.raises(errors.Unavailable, match="Too little memory") as caught:
            await backend.complete(Request(prompt="x", max_tokens=1))
        assert caught.value.fatal
    finally:
        await backend.close()


def test_sequence_count_follows_the_machine() -> None:
    info = llama_8b()
    assert make_plan(info, LlamaOptions(), machine(2, wide=False)).parallel == 8
    assert make_plan(info, LlamaOptions(), machine(2, wide=True)).parallel == 16
    assert make_plan(info, LlamaOptions(), machine(16, 80 * GIB, gpus=1)).parallel == 32
    assert make_plan(info, LlamaOptions(parallel=5), machine()).parallel == 5


def test_a_very_small_model_gets_few_sequences() -> None:
    info = GgufInfo(Path("m.gguf"), 8 << 20, "gpt2", "m", 2048, 6, 2048, 6144, 7, None)
    assert make_plan(info, LlamaOptions(), machine(2, wide=True)).sequences == 8
    assert make_plan(info, LlamaOptions(lanes=1), machine(2, wide=True)).sequences == 8
    assert make_plan(info, LlamaOptions(lanes=12), machine(2, wide=True)).sequences == 12


def test_a_very_small_models_lane_is_full_by_tokens_unless_a_person_chose_the_sequences() -> None:
    info = GgufInfo(Path("m.gguf"), 8 << 20, "gpt2", "m", 2048, 6, 2048, 6144, 7, None)
    assert make_plan(info, LlamaOptions(), machine(2)).full_at
    assert not make_plan(info, LlamaOptions(parallel=6), machine(2)).full_at
    assert not make_plan(info, LlamaOptions(), machine(2, gpus=1)).full_at
    assert not make_plan(llama_8b(), LlamaOptions(), machine(2)).full_at


def test_a_very_small_model_has_lanes_for_what_is_scored_unless_a_person_chose_the_sequences() -> None:
    info = GgufInfo(Path("m.gguf"), 8 << 20, "gpt2", "m", 2048, 6, 2048, 6144, 7, None)
    plan = make_plan(info, LlamaOptions(), machine(2))
    scoring = scoring_plan(plan)
    assert scoring is not None
    assert (plan.lanes, scoring.lanes, scoring.window) == (2, 2, plan.window)
    for options in (LlamaOptions(parallel=6), LlamaOptions(lanes=1), LlamaOptions(reproducible=True)):
        assert scoring_plan(make_plan(info, options, machine(2))) is None
    assert scoring_plan(make_plan(replace(info, size_bytes=150 << 20), LlamaOptions(), machine(2))) is None


def test_how_long_an_unused_prefix_is_kept_grows_with_the_width_and_has_no_end_on_a_gpu() -> None:
    narrow = GgufInfo(Path("m.gguf"), 8 << 20, "gpt2", "m", 2048, 6, 2048, 6144, 7, None, width=256)
    wide = replace(narrow, width=4096)
    kept = [make_plan(info, LlamaOptions(), machine(2)).stale_rows for info in (narrow, wide)]
    assert 0 < kept[0] < kept[1]
    assert make_plan(wide, LlamaOptions(), machine(2, gpus=1)).stale_rows == 0


def test_two_lanes_on_few_threads_for_a_model_that_is_not_large() -> None:
    info = GgufInfo(Path("m.gguf"), 150 << 20, "llama", "m", 2048, 30, 50000, 23040, 7, None)
    plan = make_plan(info, LlamaOptions(), machine(2, wide=True))
    assert (plan.lanes, plan.parallel, plan.sequences) == (2, 16, 32)
    assert (plan.threads, plan.threads_beside) == (2, 1)
    assert make_plan(info, LlamaOptions(parallel=9), machine(2)).sequences == 9
    for options in (
        LlamaOptions(reproducible=True),
        LlamaOptions(lanes=1),
        LlamaOptions(threads=1),
        LlamaOptions(parallel=2),
        LlamaOptions(ctx=3000),
    ):
        assert make_plan(info, options, machine(2)).lanes == 1
    for other in (machine(1), machine(16), machine(2, gpus=1)):
        assert make_plan(info, LlamaOptions(), other).lanes == 1
    assert make_plan(llama_8b(), LlamaOptions(), machine(2)).lanes == 1


def test_a_lane_holds_a_whole_window() -> None:
    info = GgufInfo(Path("m.gguf"), 150 << 20, "llama", "m", 32768, 30, 50000, 23040, 7, None)
    assert make_plan(info, LlamaOptions(), machine(2)).window >= 8192
    assert make_plan(info, LlamaOptions(ctx=16384), machine(2)).window == 16384


@settings(max_examples=200, deadline=None)
@given(
    parallel=st.none() | st.integers(1, 1000),
    ctx=st.none() | st.integers(1, 200_000),
    batch=st.none() | st.integers(1, 5000),
    cpus=st.integers(1, 128),
    memory=st.integers(0, 512) | st.just(0),
    train=st.integers(16, 1_000_000),
)
def test_every_plan_is_one_that_llama_cpp_takes(
    parallel: int | None, ctx: int | None, batch: int | None, cpus: int, memory: int, train: int
) -> None:
    info = GgufInfo(Path("m.gguf"), GIB, "llama", "m", train, 30, 50000, 23040, 7, None)
    options = LlamaOptions(parallel=parallel, ctx=ctx, batch=batch)
    try:
        plan = make_plan(info, options, machine(cpus, memory * GIB))
    except NotEnoughMemory:
        return
    assert plan.n_seq_max <= 256
    assert plan.n_seq_max <= plan.n_batch
    assert plan.n_ubatch <= plan.n_batch
    assert plan.n_ctx % 256 == 0
    assert plan.n_ctx >= plan.n_batch
    assert 1 <= plan.window <= min(train, plan.n_ctx)
    assert 1 <= plan.threads <= cpus


def test_options_come_from_settings_and_the_environment() -> None:
    env = {
        "PAIRSMITH_LLAMA_PARALLEL": "4",
        "PAIRSMITH_LLAMA_KV": "Q8_0",
        "PAIRSMITH_LLAMA_REPRODUCIBLE": "yes",
    }
    options = options_from(Settings(n_ctx=512, n_parallel=9), env)
    assert (options.parallel, options.ctx, options.kv, options.reproducible) == (4, 512, "q8_0", True)


@pytest.mark.parametrize(
    "env",
    [
        {"PAIRSMITH_LLAMA_THREADS": "many"},
        {"PAIRSMITH_LLAMA_CTX": "0"},
        {"PAIRSMITH_LLAMA_KV": "q3"},
        {"PAIRSMITH_LLAMA_FLASH": "maybe"},
    ],
)
def test_an_option_that_is_not_understood_is_named(env: dict[str, str]) -> None:
    with pytest.raises(errors.BadRequest, match=next(iter(env))):
        options_from(Settings(), env)


@pytest.mark.parametrize("kv", ["f32", "f16", "q8_0"])
async def test_every_cache_type_answers(tmp_path: Path, kv: str) -> None:
    path = make_tiny_gguf(tmp_path / "m.gguf", n_embd=128)
    backend = open_llama_cpp(str(path), Settings(env={"PAIRSMITH_LLAMA_KV": kv}))
    try:
        assert (await backend.complete(Request(prompt="x", max_tokens=4))).details["kv"] == kv
    finally:
        await backend.close()


@pytest.fixture
def shelves(good: Path, tmp_path: Path) -> Callable[[str], Path]:
    raw = good.read_bytes()

    def put(where: str) -> Path:
        path = tmp_path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        return path

    return put


def test_models_are_found_on_every_shelf(shelves: Callable[[str], Path], tmp_path: Path) -> None:
    ours = shelves("home/models/ours.gguf")
    shelves(".cache/huggingface/hub/models--org--repo/snapshots/abc/hub-Q8_0.gguf")
    shelves(".lmstudio/models/maker/thing/studio.gguf")
    shelves(".lmstudio/models/maker/thing/mmproj-studio.gguf")
    shelves(".lmstudio/models/maker/big/big-00001-of-00002.gguf")
    shelves(".lmstudio/models/maker/big/big-00002-of-00002.gguf")
    blob = shelves(".ollama/models/blobs/sha256-" + "a" * 64)
    manifest = tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/llama3.2/latest"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "a" * 64}
    manifest.write_text(json.dumps({"layers": [layer]}))
    (manifest.parent / "broken").write_text("{")
    env, home = {"HOME": str(tmp_path)}, tmp_path / "home"
    names = [model.id for model in find_models(home, env) if model.id != "embedded"]
    assert names == ["ours", "hub-Q8_0", "studio", "big-00001-of-00002", "llama3.2:latest"]
    assert resolve("ours", home, env) == ours.resolve()
    assert resolve("llama3.2", home, env) == blob.resolve()
    with pytest.raises(errors.NoSuchModel, match="Found: ours"):
        resolve("theirs", home, env)
