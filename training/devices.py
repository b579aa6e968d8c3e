"""Which device, which precision, how much memory: measured, not guessed from names."""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import TrainingError
from .shapes import Shape

SMALL = 30_000_000
"""Models with fewer parameters are computed in fp32 by one thread: sharing the work costs more than it saves."""
WORTH_IT = 1.5
"""bf16 is chosen where a matrix product is at least so many times faster than in fp32."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a run as it was decided."""

    device: torch.device
    dtype: torch.dtype
    bf16_speedup: float | None
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For people: "cpu (2 threads)", "cuda:0 (NVIDIA H200)"."""
        if self.device.type == "cpu":
            threads = torch.get_num_threads()
            return f"cpu ({threads} thread{'' if threads == 1 else 's'})"
        if self.device.type == "cuda":
            return f"cuda:{self.device.index or 0} ({torch.cuda.get_device_name(self.device)})"
        return str(self.device)

    @property
    def precision(self) -> str:
        """ "fp32" or "bf16"."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"


def choose(name: str, precision: str, threads: int | None = None, parameters: int = SMALL) -> Device:
    """The device by name ("auto", "cpu", "cuda", "cuda:N", "mps") and the precision of its products.

    Sets the number of CPU threads. Raises TrainingError("device") if the device is not there.
    """
    device = _device(name)
    small = parameters < SMALL
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if device.type == "cpu":
        torch.set_num_threads(threads or (1 if small else best_threads()))
    if precision == "fp32" or (small and precision == "auto"):
        return Device(device, torch.float32, None)
    speedup = bf16_speedup(device)
    if precision == "bf16":
        notes = () if speedup >= 1 else (f"bf16 was asked for but is {1 / speedup:.1f} times slower here",)
        return Device(device, torch.bfloat16, speedup, notes)
    return Device(device, torch.bfloat16 if speedup >= WORTH_IT else torch.float32, speedup)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(
            "device", f"no device {name!r}", "Take auto, cpu, cuda, cuda:N or mps."
        ) from error
    there = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }.get(device.type, lambda: False)()
    if not there:
        raise TrainingError("device", f"{name} is not available on this machine", "Take --device auto.")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def bf16_speedup(device: torch.device) -> float:
    """How many times faster one bf16 matrix product is than one in fp32 (a CPU is timed, some 20 ms)."""
    if device.type == "cuda":
        return 2.0 if torch.cuda.is_bf16_supported() else 0.1
    if device.type != "cpu":
        return 1.0
    return _seconds(torch.float32) / max(_seconds(torch.bfloat16), 1e-9)


def best_threads() -> int:
    """One thread, or as many as torch would take: whichever computes a row of small products faster just now.

    On an idle machine all threads win; where others keep it busy, threads wait for one another at every operation.
    """
    most = _most_threads()
    if most == 1:
        return 1
    seconds = {}
    for count in (most, 1):
        torch.set_num_threads(count)
        x, weight = torch.ones(256, 768), torch.full((768, 768), 1 / 768)
        torch.mm(x, weight)
        start = time.perf_counter()
        for _ in range(40):
            x = torch.nn.functional.gelu(torch.mm(x, weight))
        seconds[count] = time.perf_counter() - start
    best = min(seconds, key=seconds.__getitem__)
    torch.set_num_threads(best)
    return best


@functools.cache
def _most_threads() -> int:
    return int(torch.get_num_threads())


def _seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return best


def free_memory(device: torch.device) -> int:
    """Bytes that a run may still take on the device (main memory: limits of container and process included)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_available(), *_cgroup()]
    try:
        import resource

        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            limits.append(max(0, soft - _pages(0)))
    except (ImportError, OSError):
        pass
    return min(limits)


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):
        return 4 << 30


def _cgroup() -> list[int]:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return []
    return [] if limit == "max" else [max(0, int(limit) - used)]


def _pages(column: int) -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[column]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def used_memory(device: torch.device) -> int:
    """Bytes that this process holds on the device now."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return _pages(1)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process held."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    except ImportError:
        return 0


def needed_memory(shape: Shape, lengths: Sequence[int], dtype: torch.dtype, trained: int) -> int:
    """An estimate of a run's bytes: weights, gradients, both moments, and the activations of the given examples."""
    width = 2 if dtype == torch.bfloat16 else 4
    fixed = shape.parameters * (4 + (2 if width == 2 else 0)) + trained * (8 + width)
    tokens = sum(lengths)
    padded = max(lengths, default=0) * len(lengths)
    block = tokens * shape.width * (12 + 11 * width) + padded * shape.width * 5 * width
    attention = padded * shape.heads * 8
    logits = min(tokens, 1024) * shape.vocabulary * width
    return int(fixed + shape.layers * (block + attention) + logits)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, whoever raised it."""
    text = str(error)
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "can't allocate memory" in text
        or "not enough memory" in text
        or getattr(error, "errno", None) == errno.ENOMEM
    )


def describe() -> list[dict[str, Any]]:
    """Every usable device with free memory, for `devices`."""
    names = ["cpu"]
    names += (
        [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    names += ["mps"] if torch.backends.mps.is_available() else []
    found = []
    for name in names:
        device = choose(name, "auto")
        found.append(
            {
                "device": name,
                "label": device.label,
                "precision": device.precision,
                "bf16_speedup": round(device.bf16_speedup or 0.0, 2),
                "memory_free_mb": free_memory(device.device) >> 20,
            }
        )
    return found
