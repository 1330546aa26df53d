"""GGUF files of other types, by llama.cpp's own quantizer."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import LanguageModel
from lmbench.base.threads import thread_budget
from lmbench.compress.options import problem

GROUP = 32
"""Weights that share a scale in Q8_0 and Q4_0."""
_ERROR = 4
"""Value of ggml's GGML_LOG_LEVEL_ERROR."""


def f16(model: LanguageModel, path: Path, folder: Path) -> Path:
    """Every matrix in fp16, embedding and head too; norms stay fp32."""
    del model
    return _quantized(path, folder, "F16")


def bf16(model: LanguageModel, path: Path, folder: Path) -> Path:
    """Every matrix in bf16, embedding and head too; norms stay fp32."""
    del model
    return _quantized(path, folder, "BF16")


def int8_weights(model: LanguageModel, path: Path, folder: Path) -> Path:
    """Every matrix in Q8_0, embedding and head too: int8 with an fp16 scale for 32 weights; norms stay fp32.

    llama.cpp multiplies them with activations that it rounds to int8 as they come, 32 to a scale as well.
    """
    del model
    return _quantized(path, folder, "Q8_0")


def int4_weights(model: LanguageModel, path: Path, folder: Path, group_size: int) -> Path:
    """Matrices in Q4_0: 4 bits with an fp16 scale for 32 weights; activations as for Q8_0.

    llama.cpp keeps the head, or the embedding that serves as one, in Q6_K, and in Q8_0 where its rows are no multiple of 256.
    Without that SmolLM2 loses a third more.
    """
    del model
    if group_size != GROUP:
        raise ConfigError([problem("int4-weight-only", "group_size", str(group_size), f"{GROUP}, the one llama.cpp's Q4_0 has")])
    return _quantized(path, folder, "Q4_0")


def q4_k_m(model: LanguageModel, path: Path, folder: Path) -> Path:
    """llama.cpp's usual mixture of about 4.8 bits a weight: Q4_K and Q6_K, or Q5_0 and Q8_0 where rows are no multiple of 256."""
    del model
    return _quantized(path, folder, "Q4_K_M")


def _quantized(path: Path, folder: Path, kind: str) -> Path:
    """The file in llama.cpp's mostly-`kind`; SubjectError, with what it logged, when it cannot be made."""
    import llama_cpp

    faults: list[str] = []
    before, user_data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    note = llama_cpp.llama_log_callback(lambda level, text, _: faults.append(text.decode().strip()) if level == _ERROR else None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.nthread = thread_budget().threads
    target = folder / path.name
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(user_data))
    llama_cpp.llama_log_set(note, ctypes.c_void_p())
    try:
        status = llama_cpp.llama_model_quantize(os.fsencode(path), os.fsencode(target), ctypes.byref(params))
    finally:
        llama_cpp.llama_log_set(before, user_data)
    if status:
        raise SubjectError(f"llama.cpp cannot make a {kind} file of {path}: {'; '.join(faults) or f'status {status}'}")
    if kind.startswith("Q"):
        _require_groups(target, kind)
    return target


def _require_groups(path: Path, kind: str) -> None:
    """SubjectError when a matrix could not be cut into groups: llama.cpp then keeps it in fp16, without failing."""
    import gguf

    kept = [tensor for tensor in gguf.GGUFReader(path).tensors if tensor.tensor_type.name == "F16"]
    if kept:
        found = (
            f"found {len(kept)} matrices whose rows are no multiple of {GROUP}, such as {kept[0].name!r} with {kept[0].shape[0]}"
        )
        raise SubjectError(
            f"{found}; llama.cpp would keep them in fp16 in a {kind} file; use fp16 for this model, or other widths"
        )
