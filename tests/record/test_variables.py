"""Which environment variables a run records: those of consequence, none that names a place, and no secret."""

from __future__ import annotations

import pytest

from lmbench.record.environment import collect
from lmbench.record.variables import of_consequence

CONSEQUENCE = (
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "MALLOC_ARENA_MAX",
    "MALLOC_CONF",
    "GLIBC_TUNABLES",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCHINDUCTOR_FREEZING",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "OMP_PROC_BIND",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_CBWR",
    "GOMP_SPINCOUNT",
    "ORT_DISABLE_ALL_OPTIMIZATION",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NCCL_ALGO",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_DEFAULT_FPMATH_MODE",
    "JEMALLOC_CONF",
    "TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD",
    "MIMALLOC_LARGE_OS_PAGES",
    "PYTHONMALLOC",
)
NONE = (
    "CUDA_HOME",
    "TORCH_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
    "CUDA_CACHE_PATH",
    "PATH",
    "HOME",
    "TF_CPP_MIN_LOG_LEVEL",
    "AWS_KEY",
)


@pytest.mark.parametrize("name", CONSEQUENCE)
def test_what_changes_results_is_recorded(name: str) -> None:
    assert of_consequence({name: "1"}) == {name: "1"}


@pytest.mark.parametrize("name", NONE)
def test_places_and_all_else_are_not(name: str) -> None:
    assert of_consequence({name: "1"}) == {}


def test_secrets_are_masked_by_name_and_by_value() -> None:
    given = {"LLAMA_ARG_API_KEY": "abc", "MY_TOKEN": "s3cret-s3cret", "LLAMA_ARG_MODEL_URL": "http://u:s3cret-s3cret@host/"}
    assert of_consequence(given) == {"LLAMA_ARG_API_KEY": "***", "LLAMA_ARG_MODEL_URL": "http://***@host/"}


def test_they_are_in_the_environment_s_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = collect()
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    changed = collect()
    assert before.digest != changed.digest
    assert changed.facts["variables"]["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"
    monkeypatch.delenv("GLIBC_TUNABLES")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    assert collect().digest == before.digest
