"""The worker process: `python -m pairsmith.backends.llama_cpp.worker`. Frames in on fd 0, out on what was fd 1.

llama.cpp ends its process on misuse, on a bad instruction, on a broken driver; here that costs some calls, not the
application. Everything that anybody prints, C or Python, goes to fd 2, which the application keeps as a log.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from ..errors import BackendError
from . import wire


def main() -> None:
    """Load what the first frame names, then serve until the pipe closes."""
    reply, commands = _own_pipes()
    _die_with_parent(int(sys.argv[1]) if len(sys.argv) > 1 else 0)

    one_at_a_time = threading.Lock()

    def emit(frame: dict[str, Any]) -> None:
        data = memoryview(wire.pack(frame))
        with one_at_a_time:
            while data:
                data = data[os.write(reply, data) :]

    first = wire.read(commands)
    if first is None:
        return
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, inbox), daemon=True).start()
    try:
        service = _load(first, emit)
    except BackendError as error:
        emit({"failed": wire.describe(error)})
        return
    while True:
        service.handle(inbox.get())


def _load(first: dict[str, Any], emit: Any) -> Any:
    """Read the file, choose the sizes, make the contexts, and say what came of it."""
    from pathlib import Path

    from . import native, sizing
    from .engine import Engine
    from .gguf import read_gguf
    from .lanes import Lanes
    from .line import Line
    from .options import LlamaOptions
    from .prompts import PromptMaker
    from .sampling import preferred
    from .service import Service

    info = read_gguf(Path(first["path"]))
    options = LlamaOptions(**first["options"])
    plan = sizing.make_plan(info, options, sizing.this_machine(*native.devices()))
    log = native.LogRing(lambda line: print(line, file=sys.stderr, flush=True))
    global _keep
    _keep = log
    model = native.Model(first["path"], plan.gpu_layers, log)
    template = model.chat_template()

    def engines(plan: sizing.Plan, first: int) -> list[Engine]:
        line = Line(plan.sequences)
        return [
            Engine(model, native.Context(model, plan, log), plan, line, first + n) for n in range(plan.lanes)
        ]

    scoring = sizing.scoring_plan(plan)
    lanes = Lanes(engines(plan, 0), engines(scoring, plan.lanes) if scoring else ())
    prompts = PromptMaker(model, template, think=bool(options.think))
    emit({"ready": _report(model, plan, template)})
    return Service(model, lanes, prompts, emit, preferred(info.metadata))


_keep: Any = None
"""The log ring: C holds a pointer to its callback as long as the process lives."""


def _report(model: Any, plan: Any, template: str | None) -> dict[str, Any]:
    import llama_cpp as lc

    from . import sizing

    scoring = sizing.scoring_plan(plan)
    system = lc.llama_print_system_info().decode("utf-8", "replace")
    return {
        "chat": template is not None,
        "parallel": plan.sequences + (scoring.sequences if scoring else 0),
        "lanes": plan.lanes + plan.scoring_lanes,
        "window": plan.window,
        "n_ctx": plan.n_ctx,
        "n_batch": plan.n_batch,
        "n_ubatch": plan.n_ubatch,
        "threads": plan.threads,
        "kv": plan.kv,
        "flash": plan.flash,
        "gpu_layers": plan.gpu_layers,
        "suffixes": sizing.SUFFIXES if model.splittable else 0,
        "description": model.description(),
        "build": f"llama-cpp-python {lc.__version__}",
        "system": " ".join(system.split()),
    }


def _own_pipes() -> tuple[int, BinaryIO]:
    """Take fds 0 and 1 for the frames and leave nothing there that a stray print could reach."""
    reply, commands = os.dup(1), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return reply, commands


def _listen(commands: BinaryIO, inbox: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Frames into the queue; the end of the pipe is the end of the process, whatever it is doing."""
    try:
        while (frame := wire.read(commands)) is not None:
            inbox.put(frame)
    finally:
        os._exit(0)


def _die_with_parent(parent: int) -> None:
    """On Linux the kernel kills us with the parent, should we be stuck where the closed pipe is not noticed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if parent and os.getppid() != parent:
            os._exit(0)


if __name__ == "__main__":
    main()
