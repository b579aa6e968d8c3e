"""Proves that the installed llama.cpp computes rightly on this CPU, in a child process that may die of it.

Some builds do not: GCC 12 on a CPU with AMX makes one that dies in the first decode of any quantised model,
and a wheel made on another machine can die of an illegal instruction. So the child decodes
`assets/selftest.gguf` (random weights in Q8_0, written by `tools/make_selftest_gguf.py`), and the tokens must
be the known ones.

    python -m pairsmith.backends.llama_cpp.selftest     is that child: exit 0 and one line if all is well,
                                                        3 and one line if llama.cpp fails
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pairsmith.backends.text import one_line

PROMPT = tuple((37 * i + 11) % 256 for i in range(40))
EXPECTED = (80, 213, 208, 0, 242, 161, 232, 251)
"""Greedy continuation of PROMPT; each token leads the next best by 0.3 standard deviations of the logits."""
FAILED = 3
MODEL = Path(__file__).resolve().parents[2] / "assets" / "selftest.gguf"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Outcome of one self-test; `message` is one line, safe to show."""

    ok: bool
    message: str


def run_selftest(timeout_s: float = 60.0) -> SelfTest:
    """Decode the self-test model in a child process and say how it went. Blocks; raises nothing.

    `timeout_s` bounds the whole child, its start (about half a second) included.
    """
    command = [sys.executable, "-P", "-m", "pairsmith.backends.llama_cpp.selftest"]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return SelfTest(False, f"llama.cpp did not finish its self-test within {timeout_s:g} s")
    except OSError as error:
        return SelfTest(False, one_line(f"the self-test of llama.cpp did not start: {error}"))
    return SelfTest(child.returncode == 0, _said(child.returncode, child.stdout, child.stderr))


def _said(code: int, out: bytes, err: bytes) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"llama.cpp died of {name} in its self-test: this build does not fit this CPU"
    lines = (out if code in (0, FAILED) else err).decode("utf-8", "replace").strip().splitlines()
    return one_line(lines[-1]) if lines else f"the self-test of llama.cpp ended with exit code {code}"


def continuation(model: Path, prompt: tuple[int, ...], steps: int) -> tuple[int, ...]:
    """The `steps` tokens that llama.cpp chooses greedily after `prompt`, in this process.

    Raises RuntimeError where llama.cpp reports a failure, ImportError where it is not installed.
    """
    import llama_cpp as api

    silent = api.llama_log_callback(lambda level, text, data: None)
    api.llama_log_set(silent, None)
    api.llama_backend_init()
    loaded = api.llama_model_load_from_file(os.fsencode(model), api.llama_model_default_params())
    if not loaded:
        raise RuntimeError(f"llama.cpp cannot load {model}")
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch = 128, 64
    params.n_threads = params.n_threads_batch = 1  # more would wait for each other where the CPU is busy
    context = api.llama_init_from_model(loaded, params)
    if not context:
        raise RuntimeError("llama.cpp cannot make a context for the self-test model")
    size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(loaded))
    feed = prompt
    chosen: tuple[int, ...] = ()
    for _ in range(steps):
        tokens = (api.llama_token * len(feed))(*feed)
        if status := api.llama_decode(context, api.llama_batch_get_one(tokens, len(feed))):
            raise RuntimeError(f"llama.cpp failed to decode the self-test model (status {status})")
        logits = api.llama_get_logits_ith(context, -1)
        feed = (max(range(size), key=lambda token: logits[token]),)
        chosen += feed
    api.llama_free(context)
    api.llama_model_free(loaded)
    return chosen


def main() -> int:
    """Be the child: 0 if the tokens are the known ones, else FAILED, with one line that says what is wrong.

    Raises ImportError where llama-cpp-python is not installed.
    """
    try:
        chosen = continuation(MODEL, PROMPT, len(EXPECTED))
    except (OSError, RuntimeError) as error:
        print(one_line(str(error)))
        return FAILED
    if chosen != EXPECTED:
        print(f"llama.cpp computes wrongly on this CPU: tokens {chosen} instead of {EXPECTED}")
        return FAILED
    print("llama.cpp decodes the self-test model rightly")
    return 0


if __name__ == "__main__":
    sys.exit(main())
