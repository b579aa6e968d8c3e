"""How fast llama.cpp generates and judges through Pairsmith's engine, beside what one would use otherwise.

    python benchmarks/inference.py [--quick] [--llama-server PATH] [--other-build FOLDER] [--models FOLDER]
                                   [--append FILE]

Two random-weight models of 135M parameters (the shape of SmolLM2-135M; Q8_0 and F16) are made in FOLDER. Generation:
requests with a shared prefix of about 230 tokens, 32 own prompt tokens and 48 generated ones, greedy. Judging: a
rubric of about 206 tokens, pairs of about 220, five attributes. Compared are the high-level `Llama` class one by
one, llama-cpp-python's own server (needs `llama-cpp-python[server]`), a `llama-server` where one is named, and the
engine at 1, 4, 8, 16 and 32 sequences and by its own choice. The high-level class runs with sleeping and with
spinning OpenMP threads; the better run counts. `--other-build` adds the high-level class of another build of
llama-cpp-python (`CFLAGS=… CXXFLAGS=… pip install --target FOLDER llama-cpp-python`; without AMX: the three
`-mno-amx-*` of tools/build_llama.py). Every figure: wall time, whole requests, prompts included; CPU
seconds tell how much of the wall time was ours on a shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import platform
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pairsmith.backends.llama_cpp.backend import LlamaCppBackend, open_llama_cpp
from pairsmith.backends.protocol import Message, Request, ScoreRequest
from pairsmith.backends.registry import Settings
from tests.tiny_gguf import CORPUS, make_tiny_gguf

WORDS = sorted(set(CORPUS.replace(".", "").replace(",", "").replace(":", "").split()))
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
GRADES: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"enum": [0, 1, 2, 3, 4]} for name in ATTRIBUTES},
    "required": list(ATTRIBUTES),
}
GENERATED = 48
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Run:
    """One line of the table."""

    what: str
    done: float
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.done / self.wall

    @property
    def per_cpu(self) -> float:
        return self.done / max(self.cpu, 1e-9)


def main() -> int:
    options = _options()
    if options.child:
        print(json.dumps(_CHILDREN[options.child](json.loads(sys.stdin.read()))))
        return 0
    lines = [f"{_cpu_name()}, {CPUS} CPUs, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"]
    with _folder(options.models) as folder:
        for quant in options.quant:
            path = _model(folder, quant)
            lines += _generation(path, quant, options)
            lines += _judging(path, quant, options)
    lines.append(f"load at the end {os.getloadavg()[0]:.1f}")
    print(lines[-1], flush=True)
    if options.append:
        with options.append.open("a", encoding="utf-8") as file:
            today = datetime.date.today().isoformat()
            body = "\n".join(lines)
            file.write(f"\n## inference.py, {today}\n\n`{' '.join(sys.argv)}`\n\n```\n{body}\n```\n")
    return 0


# -- generation ------------------------------------------------------------------------------------------------


def _generation(path: Path, quant: str, options: argparse.Namespace) -> list[str]:
    """Tokens per second of every way."""
    few, many = (6, 32) if options.quick else (16, 64)
    prompts = _prompts(path, many, 230, 32)
    base = [
        _child(f"high-level, {policy} threads", "complete", path, {"prompts": prompts[:few]}, policy)
        for policy in ("passive", "active")
    ]
    rows = [*base]
    if options.other_build:
        rows += [
            _child(
                f"high-level, other build, {policy} threads",
                "complete",
                path,
                {"prompts": prompts[:few]},
                policy,
                options.other_build,
            )
            for policy in ("passive", "active")
        ]
    rows.append(_llama_cpp_server(path, prompts[:few]))
    if options.llama_server:
        rows.append(_llama_server(options.llama_server, path, prompts))
    for parallel in (4, 16) if options.quick else (1, 4, 8, 16, 32):
        count = few if parallel == 1 else max(many // 2, 2 * parallel)
        rows.append(asyncio.run(_engine(path, prompts[:count], parallel)))
    rows.append(asyncio.run(_engine(path, prompts, None)))
    return _table(f"{quant}: generated tokens", rows, len(base))


async def _engine(path: Path, prompts: list[str], parallel: int | None) -> Run:
    backend = open_llama_cpp(str(path), Settings(env=dict(os.environ), n_parallel=parallel))
    try:
        can = await backend.capabilities()
        requests = [Request(prompt=p, max_tokens=GENERATED, temperature=0, deadline_s=1e6) for p in prompts]
        with _Clock(backend) as clock:
            answers = await asyncio.gather(*[backend.complete(request) for request in requests])
        name = f"engine, {can.parallel} sequences" + ("" if parallel else " (its own choice)")
        return Run(name, sum(a.usage.completion_tokens for a in answers), clock.wall, clock.cpu)
    finally:
        await backend.close()


def _complete(job: dict[str, Any]) -> dict[str, float]:
    """Child: the high-level class, one request after the other."""
    llama = _llama(job["path"])
    llama.create_completion(job["prompts"][0], max_tokens=2)
    start, used, tokens = time.perf_counter(), _own_cpu(), 0
    for prompt in job["prompts"]:
        answer: Any = llama.create_completion(prompt, max_tokens=GENERATED, temperature=0)
        tokens += answer["usage"]["completion_tokens"]
    return {"done": tokens, "wall": time.perf_counter() - start, "cpu": _own_cpu() - used}


def _llama_cpp_server(path: Path, prompts: list[str]) -> Run:
    port = _free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(path), "--port", str(port)]
    command += ["--n_ctx", "2048", "--n_threads", str(CPUS), "--n_threads_batch", str(CPUS)]
    command += ["--interrupt_requests", "false", "--verbose", "false"]
    return _over_http("llama-cpp-python's server", command, port, prompts, 4)


def _llama_server(binary: Path, path: Path, prompts: list[str]) -> Run:
    port = _free_port()
    command = [str(binary), "-m", str(path), "--port", str(port), "-c", str(16 * 1024), "-np", "16"]
    return _over_http("llama-server -np 16", [*command, "-t", str(CPUS), "--no-webui"], port, prompts, 16)


def _over_http(name: str, command: list[str], port: int, prompts: list[str], at_once: int) -> Run:
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        return asyncio.run(_ask(name, f"http://127.0.0.1:{port}/v1", prompts, at_once, server.pid))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


async def _ask(name: str, url: str, prompts: list[str], at_once: int, pid: int) -> Run:
    import httpx

    gate = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(timeout=600, trust_env=False) as client:
        for _ in range(300):
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/models")).status_code == 200:
                    break
            await asyncio.sleep(0.2)

        async def one(prompt: str, tokens: int) -> int:
            body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "model": "m"}
            async with gate:
                reply = await client.post(f"{url}/completions", json=body)
            return int(reply.json()["usage"]["completion_tokens"])

        await one(prompts[0], 2)
        start, used = time.perf_counter(), _cpu_of(pid)
        tokens = sum(await asyncio.gather(*[one(prompt, GENERATED) for prompt in prompts]))
        return Run(name, tokens, time.perf_counter() - start, _cpu_of(pid) - used)


# -- judging ---------------------------------------------------------------------------------------------------


def _judging(path: Path, quant: str, options: argparse.Namespace) -> list[str]:
    """Pairs per second: one pass, against JSON by grammar, batched and by the high-level class."""
    few, many = (4, 8) if options.quick else (10, 40)
    rubric = _prompts(path, 1, 206, 0)[0]
    pairs = _prompts(path, many, 0, 220)
    base = [
        _child(
            f"JSON, high-level, {policy} threads",
            "judge",
            path,
            {"rubric": rubric, "pairs": pairs[:few]},
            policy,
        )
        for policy in ("passive", "active")
    ]
    batched = asyncio.run(_judge_json(path, rubric, pairs))
    rows = [*base, batched, asyncio.run(_judge_once(path, rubric, pairs))]
    return _table(f"{quant}: judged pairs", rows, len(base))


def _about(rubric: str, pair: str) -> tuple[Message, ...]:
    return (Message("system", rubric), Message("user", f"Response: {pair}\n"))


async def _judge_once(path: Path, rubric: str, pairs: list[str]) -> Run:
    backend = open_llama_cpp(str(path), Settings(env=dict(os.environ)))
    suffixes = tuple(f"{name}:" for name in ATTRIBUTES)
    try:
        await backend.capabilities()
        asked = [ScoreRequest(suffixes, tuple("01234"), _about(rubric, p), deadline_s=1e6) for p in pairs]
        await backend.score(asked[0])
        with _Clock(backend) as clock:
            await asyncio.gather(*[backend.score(request) for request in asked])
        return Run("one pass, engine", len(pairs), clock.wall, clock.cpu)
    finally:
        await backend.close()


async def _judge_json(path: Path, rubric: str, pairs: list[str]) -> Run:
    backend = open_llama_cpp(str(path), Settings(env=dict(os.environ)))
    try:
        can = await backend.capabilities()
        asked = [
            Request(_about(rubric, p), temperature=0, max_tokens=200, json_schema=GRADES, deadline_s=1e6)
            for p in pairs
        ]
        with _Clock(backend) as clock:
            answers = await asyncio.gather(*[backend.complete(request) for request in asked])
        for answer in answers:
            json.loads(answer.text)
        return Run(f"JSON, engine, {can.parallel} sequences", len(pairs), clock.wall, clock.cpu)
    finally:
        await backend.close()


def _judge(job: dict[str, Any]) -> dict[str, float]:
    """Child: the JSON judge of the high-level class."""
    llama = _llama(job["path"])
    form: Any = {"type": "json_object", "schema": GRADES}

    def ask(pair: str) -> None:
        turns: Any = [{"role": m.role, "content": m.content} for m in _about(job["rubric"], pair)]
        answer: Any = llama.create_chat_completion(turns, response_format=form, max_tokens=200, temperature=0)
        json.loads(answer["choices"][0]["message"]["content"])

    ask(job["pairs"][0])
    start, used = time.perf_counter(), _own_cpu()
    for pair in job["pairs"]:
        ask(pair)
    return {"done": len(job["pairs"]), "wall": time.perf_counter() - start, "cpu": _own_cpu() - used}


_CHILDREN = {"complete": _complete, "judge": _judge}


# -- tools -----------------------------------------------------------------------------------------------------


class _Clock:
    """Wall time, and the CPU time of a backend's worker."""

    def __init__(self, backend: LlamaCppBackend) -> None:
        self._pid = backend.worker_pid or 0
        self.wall = self.cpu = 0.0

    def __enter__(self) -> _Clock:
        self.wall, self.cpu = -time.perf_counter(), -_cpu_of(self._pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += _cpu_of(self._pid)


def _child(
    name: str, kind: str, path: Path, job: dict[str, Any], policy: str, build: Path | None = None
) -> Run:
    """Run one of `_CHILDREN` in a process of its own, its OpenMP threads waiting as told."""
    other = {} if build is None else {"PYTHONPATH": str(build.resolve())}
    result = subprocess.run(
        [sys.executable, __file__, "--child", kind],
        input=json.dumps({"path": str(path), **job}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env={**os.environ, "OMP_WAIT_POLICY": policy, **other},
    )
    return Run(name, **json.loads(result.stdout))


def _llama(path: str) -> Any:
    from llama_cpp import Llama

    return Llama(path, n_ctx=2048, n_threads=CPUS, n_threads_batch=CPUS, verbose=True)


def _table(title: str, rows: list[Run], bases: int) -> list[str]:
    """Rates, and ratios to the best of the first `bases` rows: by wall time, and by CPU time (a shared machine)."""
    wall, cpu = max(r.rate for r in rows[:bases]), max(r.per_cpu for r in rows[:bases])
    lines = ["", f"{title:44} {'per s':>8} {'ratio':>7} {'per CPU s':>10} {'ratio':>7} {'wall s':>7}"]
    lines += [
        f"{r.what:44} {r.rate:8.2f} {r.rate / wall:6.2f}x {r.per_cpu:10.2f} {r.per_cpu / cpu:6.2f}x {r.wall:7.1f}"
        for r in rows
    ]
    print("\n".join(lines), flush=True)
    return lines


def _prompts(path: Path, count: int, shared: int, own: int) -> list[str]:
    """Texts of about so many tokens: a common beginning and an end of their own."""
    from llama_cpp import Llama

    llama = Llama(str(path), vocab_only=True, verbose=False)
    rng = random.Random(7)

    def text(tokens: int) -> str:
        words: list[str] = []
        while tokens > 0:
            words.append(rng.choice(WORDS))
            tokens -= len(llama.tokenize(f" {words[-1]}".encode(), add_bos=False))
        return " ".join(words)

    head = text(shared)
    return [f"{head} {text(own)}".strip() for _ in range(count)]


def _model(folder: Path, quant: str) -> Path:
    path = folder / f"random-135m-{quant}.gguf"
    if not path.exists():
        shape = {"n_embd": 576, "n_layer": 30, "n_head": 9, "n_kv_head": 3, "n_ff": 1536, "n_vocab": 49152}
        make_tiny_gguf(path, quant=quant, context=2048, scale=0.04, **shape)  # type: ignore[arg-type]
    return path


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a few requests only: to see that it runs")
    parser.add_argument("--quant", nargs="+", default=["q8_0", "f16"], choices=["q8_0", "f16"])
    parser.add_argument("--llama-server", type=Path, help="a llama-server binary to compare with")
    parser.add_argument(
        "--other-build", type=Path, metavar="FOLDER", help="another llama-cpp-python, by pip --target"
    )
    parser.add_argument("--models", type=Path, help="where to keep the models; otherwise a temporary folder")
    parser.add_argument("--append", type=Path, help="a Markdown file that the table is appended to")
    parser.add_argument("--child", choices=["complete", "judge"], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
