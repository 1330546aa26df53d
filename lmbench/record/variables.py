"""Environment variables that change what an engine computes or how fast: by beginnings of names, secrets masked."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lmbench.load.masks import blot, masked_env

RECIPE = 2
"""Raise when more variables are recorded. 1 (not written down then): ONE alone."""
ONE = (
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "KMP_",
    "GOMP_",
    "BLIS_",
    "TORCH",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_",
    "ATEN_",
    "DNNL_",
    "ONEDNN_",
)
BEGINNINGS = (
    *ONE,
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_BIND_N",
    "LD_LIBRARY_PATH",
    "DYLD_",
    "MALLOC_",
    "_RJEM_MALLOC_CONF",
    "JEMALLOC",
    "TCMALLOC_",
    "MIMALLOC_",
    "GLIBC_TUNABLES",
    "PYTHONMALLOC",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTORCH_",
    "CUDA_",
    "CUDNN_",
    "NCCL_",
    "GLOO_",
    "TRITON_",
    "ORT_",
    "OPENVINO_",
    "OV_",
    "TBB_",
    "GGML_",
    "LLAMA_",
    "XNNPACK_",
    "TF_",
    "XLA_",
    "GOTO_",
    "VECLIB_",
    "BLAS_",
    "ACL_",
    "NUMEXPR_",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
)
"""Loader, allocators, thread pools and switches of engines and their libraries."""
PLACES = ("_HOME", "_DIR", "_PATH", "_ROOT", "_CACHE", "_FILE", "_FOLDER", "_BIN", "_LIB", "_INCLUDE")
"""Endings of names that only say where files lie."""
KEPT = ("LD_LIBRARY_PATH",)
"""A path that chooses which libraries are loaded."""
OURS = ("TF_CPP_MIN_LOG_LEVEL", "GLOO_SOCKET_IFNAME")
"""Set by lmbench itself."""


def of_consequence(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Those of `variables` (default: this process's) that change a measurement, by name; secret values are masked."""
    given = os.environ if variables is None else variables
    chosen = {name: value for name, value in sorted(given.items()) if _counts(name)}
    return {name: blot(value, given) for name, value in masked_env(chosen).items()}


def recorded_then(name: str, recipe: object) -> bool:
    """Whether environments of that recipe (None: the first) record the variable."""
    return recipe == RECIPE or name.startswith(ONE)


def _counts(name: str) -> bool:
    if name in OURS or not name.startswith(BEGINNINGS):
        return False
    return name in KEPT or not name.endswith(PLACES)
