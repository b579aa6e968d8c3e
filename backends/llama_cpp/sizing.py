"""How many sequences, tokens, threads and GPU layers: chosen from the file and the machine, overridable.

Figures behind the choices: a decode of many rows is bound by arithmetic on a CPU, so throughput is flat from 8
(quantised, AVX2) or 16 (F16, or AVX-512, AMX, Arm) sequences on; a GPU is far from its limit there.
Two threads on one batch wait for each other, so a few threads are split over two lanes (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Unavailable
from .gguf import GgufInfo
from .options import LlamaOptions

MOST_SEQUENCES = 256
CACHED_PREFIXES = 12
CACHED_TAILS = 1
SUFFIXES = 16
_GIB = 1 << 30
_KV_SHARE = {"f32": 2.0, "f16": 1.0, "q8_0": 34 / 64, "q4_0": 18 / 64}
_PER_SEQUENCE, _LONG = 1024, 8192
_UBATCH_ON_CPU = 384
"""Rows computed together on a CPU (measured, 135M at Q8_0 with AMX: prompts are evaluated 7 % faster than in pieces of
128, 20 % faster than in pieces of 64)."""
_ENGINE_BYTES = 256 << 20
_LANE_BYTES = 128 << 20
"""Of each lane beyond the first, its cache aside."""
_LANES, _MOST_THREADS_FOR_LANES, _LARGEST_FOR_LANES = 2, 4, 2 << 30
_FEWEST_FOR_LANES = 4
_SMALL, _FEW = 40 << 20, 8
_FULL_AT = 512
"""A row of so small a model costs less than its look over the cells of the others in its lane: short requests gain by
four at a time, a long list is best alone."""
_SCORED_AT_ONCE = 2
"""In a lane: one is computed, the next one's beginning is being shared."""
_ROWS_FOR_THREADS = 32
"""One row of so small a model takes 0.5 ms on one thread and 1.1 on two."""
_STALE_ROWS, _LEAST_STALE = 2, 512
"""A cached prefix saves what its tokens cost in the blocks' products, about 24 width^2 a layer and token, and costs
every row that looks over it 4 width: it must be asked for again within 6 width rows. On a CPU attention's arithmetic is
some three times dearer than that of large products."""


class NotEnoughMemory(Unavailable):
    """The model does not fit. The message says what would."""

    retryable = False
    fatal = True


@dataclass(frozen=True, slots=True)
class Machine:
    """What counts about this computer. Bytes; memory 0 where unknown."""

    cpus: int
    cores: int
    memory: int
    wide: bool
    """AVX-512, AMX or Arm dot products."""
    gpus: int = 0
    gpu_memory: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a context is made with, and how many such contexts there are."""

    parallel: int
    """Sequences of one lane."""
    n_ctx: int
    """Tokens in the cache of one lane."""
    window: int
    """Most tokens of one request, prompt and answer together."""
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    threads: int
    """Of a lane while no other decodes."""
    kv: str
    gpu_layers: int
    flash: bool | None
    lanes: int = 1
    threads_beside: int = 1
    """Of a lane while others decode, too."""
    rows_for_threads: int = 0
    """Rows of a batch from which a lane that is alone uses all its threads."""
    stale_rows: int = 0
    """Rows of a lane after which a prefix that none of them began with is forgotten; 0 for never."""
    full_at: int = 0
    """Tokens in a lane's requests beyond which it takes no other; 0 for no such bound."""
    sequences: int = 1
    """Most requests that run at a time, all lanes together."""
    scoring_lanes: int = 0
    """Lanes beside these that take what is to be scored, and nothing else; 0: it goes to these, too."""


def scoring_plan(plan: Plan) -> Plan | None:
    """The plan of the lanes that only score; None where there are none."""
    if not plan.scoring_lanes:
        return None
    lanes, most = plan.scoring_lanes, plan.scoring_lanes * _SCORED_AT_ONCE
    return replace(plan, lanes=lanes, parallel=_SCORED_AT_ONCE, sequences=most, full_at=0)


def this_machine(gpus: int = 0, gpu_memory: int = 0) -> Machine:
    """The machine as this process may use it: affinity and control-group limits respected."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpus = min(cpus, _quota() or cpus)
    text = _read("/proc/cpuinfo")
    pairs = set(_core_ids(text))
    flags = set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
    arm = os.uname().machine in ("arm64", "aarch64") if hasattr(os, "uname") else False
    wide = arm or bool(flags & {"avx512f", "amx_int8"})
    return Machine(cpus, min(cpus, len(pairs) or cpus), available_memory(), wide, gpus, gpu_memory)


def available_memory() -> int:
    """Bytes that could be had now, the control group's limit respected; 0 where unknown."""
    free = 0
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free = min(free or int(limit), max(0, int(limit) - int(used)))
    if not free and sys.platform == "darwin":
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return free


def make_plan(info: GgufInfo, options: LlamaOptions, machine: Machine) -> Plan:
    """Choose. Raises `NotEnoughMemory` where not even one short sequence fits."""
    gpu = machine.gpus > 0 and options.gpu_layers != 0
    most = MOST_SEQUENCES - CACHED_PREFIXES - CACHED_TAILS - SUFFIXES
    train = info.context_length or 4096
    kv = options.kv or "f16"
    per_token = max(1, int((info.kv_bytes_per_token or 65536) * _KV_SHARE[kv]))
    room = _room_for_cache(info, machine, gpu)
    threads = options.threads or _threads(machine)
    lanes = _lanes(info, options, machine, gpu)
    small = not gpu and info.size_bytes <= _SMALL
    scoring = lanes if small and lanes > 1 and not options.parallel else 0
    wanted = options.parallel or lanes * _parallel(info, machine, gpu, lanes)
    affordable = (room - _LANE_BYTES * (lanes + scoring - 1)) // per_token * lanes // (lanes + scoring)
    n_ctx = options.ctx or _context(train, wanted, lanes, affordable)
    if lanes > 1 and not options.lanes and n_ctx < lanes * min(train, options.ctx or _LONG):
        return make_plan(info, replace(options, lanes=1), machine)
    if machine.memory:
        _check_memory(info, n_ctx, per_token, room)
    parallel = min(-(-wanted // lanes), most)
    n_seq_max = min(MOST_SEQUENCES, parallel + CACHED_PREFIXES + CACHED_TAILS + SUFFIXES)
    n_batch = max(options.batch or (2048 if gpu else 512), n_seq_max)
    n_ctx = -(-max(n_ctx // lanes, 256) // 256) * 256
    n_batch = min(n_batch, n_ctx) if n_ctx >= n_seq_max else n_batch
    return Plan(
        parallel=parallel,
        n_ctx=n_ctx,
        window=min(train, n_ctx),
        n_batch=n_batch,
        n_ubatch=min(n_batch, options.ubatch or (512 if gpu else _UBATCH_ON_CPU)),
        n_seq_max=n_seq_max,
        threads=threads,
        kv=kv,
        gpu_layers=options.gpu_layers if options.gpu_layers is not None else (-1 if gpu else 0),
        flash=_flash(options.flash, kv, gpu),
        lanes=lanes,
        threads_beside=max(1, threads // lanes),
        stale_rows=0 if gpu else max(_LEAST_STALE, _STALE_ROWS * info.width),
        rows_for_threads=_ROWS_FOR_THREADS if small else 0,
        full_at=_FULL_AT if small and not options.parallel else 0,
        sequences=min(wanted, parallel * lanes),
        scoring_lanes=scoring,
    )


def _lanes(info: GgufInfo, options: LlamaOptions, machine: Machine, gpu: bool) -> int:
    """Contexts side by side: two where they were measured to pay, on few threads and with a model that is not large.

    One for reproducible texts, whose batches must have one shape.
    """
    if options.reproducible:
        return 1
    if options.lanes:
        return min(options.lanes, options.parallel or options.lanes)
    if gpu or (options.parallel or _FEWEST_FOR_LANES) < _FEWEST_FOR_LANES:
        return 1
    threads = options.threads or _threads(machine)
    few = min(threads, machine.cpus) >= 2 and threads <= _MOST_THREADS_FOR_LANES
    return _LANES if few and info.size_bytes <= _LARGEST_FOR_LANES else 1


def _flash(wanted: bool | None, kv: str, gpu: bool) -> bool | None:
    """Flash attention. On a CPU it is slower for many short sequences, and departs further from plain arithmetic.

    A quantised cache needs it; on a GPU llama.cpp decides.
    """
    if wanted is not None or gpu:
        return wanted
    return kv in ("q8_0", "q4_0")


def _parallel(info: GgufInfo, machine: Machine, gpu: bool, lanes: int) -> int:
    if gpu:
        return 32
    if info.size_bytes <= _SMALL:
        return max(1, _FEW // lanes)
    plain = info.file_type in (0, 1, 32)
    return 16 if plain or machine.wide or machine.cores >= 8 else 8


def _threads(machine: Machine) -> int:
    """Physical cores; of four or more, one is left to the interface.

    Very small models, too: two threads on one batch cost 9 % more CPU time than one (5.8M parameters), but lanes of one
    thread each do not, and are what runs where there is enough to do.
    """
    if machine.cores >= 4:
        return machine.cores - 1
    return min(machine.cpus, 4)


def _room_for_cache(info: GgufInfo, machine: Machine, gpu: bool) -> int:
    free = machine.gpu_memory if gpu and machine.gpu_memory else machine.memory
    return max(0, free - info.size_bytes - _ENGINE_BYTES) if free else 8 * _GIB


def _context(train: int, parallel: int, lanes: int, affordable: int) -> int:
    """A thousand tokens for each sequence; in each lane a full window, 8,192 of it, where memory allows that."""
    wanted = parallel * min(train, _PER_SEQUENCE) + lanes * _PER_SEQUENCE
    wanted = max(wanted, lanes * min(train, _LONG))
    return max(min(wanted, affordable // 2), min(train, affordable, 512))


def _check_memory(info: GgufInfo, n_ctx: int, per_token: int, room: int) -> None:
    if n_ctx * per_token <= room and room > 0:
        return
    free = room + info.size_bytes + _ENGINE_BYTES if room else available_memory()
    need = info.size_bytes + _ENGINE_BYTES + n_ctx * per_token
    fits = room // per_token // 256 * 256
    if fits >= 512:
        what = f"A context of {fits} tokens would fit: set PAIRSMITH_LLAMA_CTX={fits}"
    else:
        most = max(0, free - _ENGINE_BYTES - 512 * per_token)
        what = (
            f"A model file of up to {gib(most)} would fit: choose a smaller model or a smaller quantisation"
        )
    raise NotEnoughMemory(
        f"Too little memory for {info.path.name}: it needs {gib(need)}, {gib(free)} are free",
        advice=what + ".",
    )


def gib(size: int) -> str:
    """Bytes for people: 512 MiB, 3.2 GiB."""
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / (1 << 20):.0f} MiB"


def _core_ids(text: str) -> list[tuple[str, str]]:
    found, package = [], ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "physical id":
            package = value.strip()
        elif key.strip() == "core id":
            found.append((package, value.strip()))
    return found


def _quota() -> int | None:
    parts = _read("/sys/fs/cgroup/cpu.max").split()
    if len(parts) == 2 and parts[0].isdigit() and int(parts[1]) > 0:
        return max(1, int(parts[0]) // int(parts[1]))
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
