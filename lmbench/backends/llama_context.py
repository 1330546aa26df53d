"""llama.cpp's C interface: weights, and contexts that decode batches of sequences of equal length."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Stored

from lmbench.base.errors import SubjectError
from lmbench.base.seams import FloatArray, IntArray

PADDING = 256
"""llama.cpp rounds the tokens of a sequence up to a multiple of this."""
KEPT = {"fp32": Stored.F32, "fp16": Stored.F16, "bf16": Stored.BF16}
"""Type of keys and values, by the precision of a level."""
KEPT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
_ERROR = 4
"""Value of ggml's GGML_LOG_LEVEL_ERROR."""
_faults: deque[str] = deque(maxlen=5)
_POINTERS = dict(llama_cpp.llama_batch._fields_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all contexts of an engine have in common."""

    threads: int
    max_tokens: int
    precision: str
    vocab: int


class Weights:
    """A loaded GGUF file, freed with the last that uses it."""

    def __init__(self, path: Path) -> None:
        llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        # Other layouts for the kernels of this CPU, as by default; but with AMX the first pass over them may crash
        # (ggml-org/llama.cpp#20824).
        self.repacked = params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
        self.pointer = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self.pointer:
            raise _fault(f"cannot load {path}")
        weakref.finalize(self, llama_cpp.llama_model_free, self.pointer)

    @property
    def numbers_per_token(self) -> int:
        """Numbers that the keys and values of one token are."""
        text = ctypes.create_string_buffer(16)
        llama_cpp.llama_model_meta_val_str(self.pointer, b"llama.attention.key_length", text, len(text))
        heads = llama_cpp.llama_model_n_layer(self.pointer) * llama_cpp.llama_model_n_head_kv(self.pointer)
        return 2 * int(heads) * int(text.value)


class Context:
    """Memory for the keys and values of up to `batch` sequences that are decoded together, taken in full at once."""

    def __init__(self, weights: Weights, batch: int, settings: Settings) -> None:
        most = llama_cpp.llama_max_parallel_sequences()
        if batch > most:
            raise SubjectError(f"found a batch of {batch} sequences; llama.cpp decodes at most {most} together; lower the batch")
        self.batch = batch
        self._weights = weights
        self._settings = settings
        self._pointer = llama_cpp.llama_init_from_model(weights.pointer, _params(batch, settings))
        if not self._pointer:
            raise _fault(f"cannot make a context of {batch} sequences of {settings.max_tokens} tokens; lower one of them")
        weakref.finalize(self, llama_cpp.llama_free, self._pointer)

    def decode(self, ids: IntArray, positions: IntArray, past: int) -> FloatArray:
        """Ids [B, T] after `past` tokens of each sequence -> logits [B, K, V]; remembers nothing of them when it fails."""
        if past + ids.shape[1] > self._settings.max_tokens:
            most = f"expected at most {self._settings.max_tokens} together, the backend's max_tokens"
            raise SubjectError(
                f"found {past} and {ids.shape[1]} more tokens; {most}; raise it (up to the model's) or ask for less"
            )
        asked, places = np.unique(positions, return_inverse=True)
        batch = _Batch(ids, asked, past)
        status = llama_cpp.llama_decode(self._pointer, batch.struct)
        if status:
            self.forget(past)
            raise _fault(f"ended with status {status} on ids of shape {ids.shape} after {past} tokens")
        rows = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self._pointer), (len(ids), len(asked), self._settings.vocab))
        return rows[:, places]

    def forget(self, length: int) -> None:
        """Drop what comes after the first `length` tokens of every sequence."""
        every_sequence, to_the_end = -1, -1
        memory = llama_cpp.llama_get_memory(self._pointer)
        llama_cpp.llama_memory_seq_rm(memory, every_sequence, length, to_the_end)


class _Batch:
    """ids [B, T] after `past` tokens as llama.cpp takes them; the arrays it points into live as long as it does."""

    def __init__(self, ids: IntArray, asked: IntArray, past: int) -> None:
        rows, tokens = ids.shape
        sequences = np.repeat(np.arange(rows, dtype=np.int32), tokens)
        wanted = np.zeros((rows, tokens), dtype=np.int8)
        wanted[:, asked] = 1
        self._arrays = {
            "token": np.ascontiguousarray(ids, dtype=np.int32),
            "pos": np.tile(np.arange(past, past + tokens, dtype=np.int32), rows),
            "n_seq_id": np.ones(rows * tokens, dtype=np.int32),
            "seq_id": (sequences.ctypes.data + sequences.itemsize * np.arange(rows * tokens)).astype(np.uintp),
            "logits": wanted,
        }
        self._sequences = sequences
        self.struct = llama_cpp.llama_batch(n_tokens=rows * tokens)
        for name, array in self._arrays.items():
            setattr(self.struct, name, array.ctypes.data_as(_POINTERS[name]))


def _params(batch: int, settings: Settings) -> Any:
    """One call decodes whatever fits, computes in the level's precision, and hands out all logits it is asked for."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = batch * settings.max_tokens
    params.n_seq_max = batch
    params.n_outputs_max_per_seq = 0
    params.n_threads = params.n_threads_batch = settings.threads
    params.type_k = params.type_v = KEPT[settings.precision]
    params.offload_kqv = params.op_offload = False
    if settings.precision == "fp32":
        # Flash attention rounds to half precision: logits of SmolLM2 are then off by 0.06 instead of 0.0001.
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params


def _note(level: int, text: bytes, _: object) -> None:
    if level == _ERROR:
        _faults.append(text.decode(errors="replace").strip())


def _fault(what: str) -> SubjectError:
    """The error for what failed, with what llama.cpp logged about it."""
    reasons = "; ".join(_faults)
    _faults.clear()
    return SubjectError(f"llama.cpp {llama_cpp.llama_version().decode()} {what}: {reasons or 'no reason was logged'}")


_log = llama_cpp.llama_log_callback(_note)
