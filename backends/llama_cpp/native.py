"""The thin layer over llama.cpp's C API: a loaded model, its vocabulary, one context, one reusable batch.

Only the worker process imports this: misuse of the C API ends the process (an assert calls abort()).
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp as lc
import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, NoSuchModel
from ..text import one_line
from .sizing import NotEnoughMemory, Plan

Logits = NDArray[np.float32]
SEQ_IDS_PER_TOKEN = 32
LARGEST_COPY = 256 << 20
"""Bytes of a beginning that goes from one context to another; a longer one is computed again."""
_KV = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}
_CONTROL, _UNKNOWN = 8, 1


class LogRing:
    """The last lines of llama.cpp's own chatter, and a callback that collects them.

    Keep the object alive as long as the library is loaded: C holds a pointer to the callback.
    """

    def __init__(self, sink: Callable[[str], None], lines: int = 400) -> None:
        self.lines: deque[str] = deque(maxlen=lines)
        self._sink = sink
        self._partial = ""
        self._one_at_a_time = threading.Lock()
        self._callback = lc.llama_log_callback(self._log)
        lc.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _log(self, level: int, text: bytes, _data: int) -> None:
        with self._one_at_a_time:
            self._partial += text.decode("utf-8", "replace")
            while "\n" in self._partial:
                line, self._partial = self._partial.split("\n", 1)
                if line.strip():
                    self.lines.append(line)
                    if level >= 2:
                        self._sink(line)


class Model:
    """A GGUF in memory. Raises `NoSuchModel` or `NotEnoughMemory` with the reason that llama.cpp logged."""

    def __init__(self, path: str, gpu_layers: int, log: LogRing) -> None:
        lc.llama_backend_init()
        params = lc.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        self.path = path
        self.handle = lc.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            raise load_error(path, list(log.lines))
        self.vocab = lc.llama_model_get_vocab(self.handle)
        self.n_vocab: int = lc.llama_vocab_n_tokens(self.vocab)
        self.n_ctx_train: int = lc.llama_model_n_ctx_train(self.handle)
        self.bos: int = lc.llama_vocab_bos(self.vocab)
        self.eos: int = lc.llama_vocab_eos(self.vocab)
        self.add_bos: bool = lc.llama_vocab_get_add_bos(self.vocab)
        self.splittable = not (
            lc.llama_model_is_recurrent(self.handle) or lc.llama_model_is_hybrid(self.handle)
        )
        """Whether a sequence can be cut or shared at any token (recurrent states cannot)."""
        self._pieces: dict[int, bytes] = {}
        self._eog: dict[int, bool] = {}

    def chat_template(self) -> str | None:
        raw = lc.llama_model_chat_template(self.handle, None)
        text = raw.decode("utf-8", "replace") if raw else ""
        return text if text.strip() else None

    def description(self) -> str:
        buffer = ctypes.create_string_buffer(128)
        lc.llama_model_desc(self.handle, buffer, 128)
        return buffer.value.decode("utf-8", "replace")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids. `special=False` for text that we did not write: control tokens stay plain characters."""
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 8
        buffer = (lc.llama_token * size)()
        count = lc.llama_tokenize(self.vocab, raw, len(raw), buffer, size, False, special)
        if count < 0:
            size = -count
            buffer = (lc.llama_token * size)()
            count = lc.llama_tokenize(self.vocab, raw, len(raw), buffer, size, False, special)
        return list(buffer[: max(count, 0)])

    def piece(self, token: int) -> bytes:
        """Bytes of a token: possibly a fragment of a character. Control tokens have none."""
        known = self._pieces.get(token)
        if known is None:
            known = self._piece(token, False)
            self._pieces[token] = known
        return known

    def spelling(self, token: int) -> str:
        """A token as text, control tokens included; bytes of a broken character as \\xNN."""
        return self._piece(token, True).decode("utf-8", "backslashreplace")

    def _piece(self, token: int, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = lc.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def is_end(self, token: int) -> bool:
        known = self._eog.get(token)
        if known is None:
            known = bool(lc.llama_vocab_is_eog(self.vocab, token))
            self._eog[token] = known
        return known

    def control_texts(self) -> list[str]:
        """Spellings of the tokens that must never come out of somebody's text."""
        found = []
        for token in range(self.n_vocab):
            if lc.llama_vocab_get_attr(self.vocab, token) & (_CONTROL | _UNKNOWN):
                raw = lc.llama_vocab_get_text(self.vocab, token)
                if raw:
                    found.append(raw.decode("utf-8", "replace"))
        return found


class Context:
    """One llama.cpp context with a unified cache. Use it from one thread at a time."""

    def __init__(self, model: Model, plan: Plan, log: LogRing) -> None:
        params = lc.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = plan.n_ctx, plan.n_batch, plan.n_ubatch
        params.n_seq_max = params.n_outputs_max = plan.n_seq_max
        params.n_threads = params.n_threads_batch = plan.threads
        params.kv_unified = True
        params.type_k = params.type_v = _KV[plan.kv]
        if plan.flash is not None:
            params.flash_attn_type = 1 if plan.flash else 0
        self.handle = lc.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise _context_error(list(log.lines), plan)
        self.model = model
        self.memory = lc.llama_get_memory(self.handle)
        self.n_batch, self.capacity, self.n_seq_max = plan.n_batch, plan.n_ctx, plan.n_seq_max
        self.batch = Batch(plan.n_batch)
        self._threads = plan.threads

    def decode(self, count: int, threads: int) -> int:
        """Run the first `count` rows of the batch; llama.cpp's return code (0 fine, 1 cache full, ...)."""
        if threads != self._threads:
            lc.llama_set_n_threads(self.handle, threads, threads)
            self._threads = threads
        return int(lc.llama_decode(self.handle, self.batch.struct(count)))

    def logits(self, row: int) -> Logits:
        """A view of one output row, valid until the next decode."""
        pointer = lc.llama_get_logits_ith(self.handle, row)
        if not pointer:
            raise BackendError(f"llama.cpp gave no logits for row {row}")
        return np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab,))

    def share(self, source: int, target: int, length: int) -> None:
        lc.llama_memory_seq_cp(self.memory, source, target, 0, length)

    def cut(self, seq: int, start: int = -1) -> None:
        """Forget a sequence from position `start` on; all of it by default."""
        lc.llama_memory_seq_rm(self.memory, seq, start, -1)

    def save(self, seq: int) -> Any:
        """A copy of what the cache holds of a sequence, for `load` of another context of the same model.

        None where that is more than `LARGEST_COPY`, or llama.cpp cannot give it.
        """
        size = lc.llama_state_seq_get_size(self.handle, seq)
        if not 0 < size <= LARGEST_COPY:
            return None
        try:
            kept = (ctypes.c_uint8 * size)()
        except MemoryError:
            return None
        return kept if lc.llama_state_seq_get_data(self.handle, kept, size, seq) == size else None

    def load(self, seq: int, kept: Any) -> bool:
        """Fill an empty sequence with what `save` gave; false where it does not fit."""
        return bool(lc.llama_state_seq_set_data(self.handle, kept, len(kept), seq))

    def clear(self) -> None:
        lc.llama_memory_clear(self.memory, True)


class Batch:
    """A llama_batch over numpy arrays: whole columns are written at once, without a ctypes call per token."""

    def __init__(self, size: int) -> None:
        self.tokens = np.zeros(size, np.int32)
        self.positions = np.zeros(size, np.int32)
        self.counts = np.ones(size, np.int32)
        self.seqs = np.zeros((size, SEQ_IDS_PER_TOKEN), np.int32)
        self.outputs = np.zeros(size, np.int8)
        start, stride = self.seqs.ctypes.data, self.seqs.strides[0]
        self._rows = np.arange(size, dtype=np.uint64) * np.uint64(stride) + np.uint64(start)
        self._struct = lc.llama_batch()
        self._struct.token = self.tokens.ctypes.data_as(ctypes.POINTER(lc.llama_token))
        self._struct.pos = self.positions.ctypes.data_as(ctypes.POINTER(lc.llama_pos))
        self._struct.n_seq_id = self.counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        kind = ctypes.POINTER(ctypes.POINTER(lc.llama_seq_id))
        self._struct.seq_id = ctypes.cast(self._rows.ctypes.data, kind)
        self._struct.logits = self.outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))

    def put(self, row: int, tokens: Sequence[int], position: int, seqs: Sequence[int], last: bool) -> int:
        """Write tokens at consecutive positions of `seqs` from `row` on; `last`: want the last one's logits.

        Returns the next free row.
        """
        end = row + len(tokens)
        self.tokens[row:end] = tokens
        self.positions[row:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self.counts[row:end] = len(seqs)
        self.seqs[row:end, : len(seqs)] = seqs
        self.outputs[row:end] = 0
        if last:
            self.outputs[end - 1] = 1
        return end

    def struct(self, count: int) -> Any:
        self._struct.n_tokens = count
        return self._struct


def load_error(path: str, lines: list[str]) -> BackendError:
    """Why a file could not be loaded, from what llama.cpp logged."""
    text = "\n".join(lines)
    shown = one_line(path)
    unknown = re.search(r"unknown model architecture: '([^']*)'", text)
    if unknown:
        return NoSuchModel(
            f"{shown} has the architecture {one_line(unknown[1])!r}, which this llama.cpp does not know",
            advice="Update llama-cpp-python or choose another model.",
        )
    if "not within the file bounds" in text or "failed to read" in text or "corrupted" in text:
        return NoSuchModel(
            f"{shown} is cut or damaged: {_reason(lines)}",
            advice="Download it again and compare its SHA-256.",
        )
    if "invalid magic" in text:
        return NoSuchModel(f"{shown} is not a GGUF model", advice="Choose a file whose name ends in .gguf.")
    if _short_of_memory(text):
        return NotEnoughMemory(f"Too little memory to load {shown}: {_reason(lines)}", advice=_SMALLER)
    return NoSuchModel(f"llama.cpp cannot load {shown}: {_reason(lines)}", advice="See the log for details.")


_SMALLER = "Close other programs, or choose a smaller model or a smaller quantisation."


def _context_error(lines: list[str], plan: Plan) -> BackendError:
    text = "\n".join(lines[-40:])
    if _short_of_memory(text):
        half = max(256, plan.n_ctx // 2)
        return NotEnoughMemory(
            f"Too little memory for a context of {plan.n_ctx} tokens",
            advice=f"Half of it may fit: set PAIRSMITH_LLAMA_CTX={half}.",
        )
    return BackendError(f"llama.cpp cannot make a context: {_reason(lines)}")


def _short_of_memory(text: str) -> bool:
    return bool(
        re.search(
            r"failed to allocate|unable to allocate|out of memory|bad_alloc|cannot allocate", text, re.I
        )
    )


def _reason(lines: list[str]) -> str:
    """The line that says most: the first that speaks of an error, else the last."""
    for line in lines:
        if re.search(r"error|invalid|unknown|missing|not within|failed", line, re.I):
            return one_line(re.sub(r"^[a-z_0-9]+: ", "", line), 160)
    return one_line(lines[-1], 160) if lines else "no reason given"


def devices() -> tuple[int, int]:
    """Number of GPUs that llama.cpp sees, and their free memory in bytes together."""
    if not lc.llama_supports_gpu_offload():
        return 0, 0
    from llama_cpp._ggml import libggml

    library: Any = libggml
    try:
        library.ggml_backend_dev_count.restype = ctypes.c_size_t
        library.ggml_backend_dev_get.restype = ctypes.c_void_p
        library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
        library.ggml_backend_dev_type.restype = ctypes.c_int
        library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
        library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p] + [ctypes.POINTER(ctypes.c_size_t)] * 2
        library.ggml_backend_dev_memory.restype = None
        count = memory = 0
        for n in range(library.ggml_backend_dev_count()):
            device = library.ggml_backend_dev_get(n)
            if library.ggml_backend_dev_type(device) in (1, 2):
                free, total = ctypes.c_size_t(), ctypes.c_size_t()
                library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
                count, memory = count + 1, memory + free.value
        return count, memory
    except AttributeError:
        return 1, 0
