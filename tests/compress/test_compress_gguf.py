"""GGUF files by llama.cpp's quantizer: the types that are asked for, and answers near those of the file they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Bound, FloatArray
from lmbench.compress import gguf_ways
from lmbench.compress.level import FileChange, Level
from lmbench.compress.none import build as none
from lmbench.data import corpora
from lmbench.models import decoder
from lmbench.subject.fidelity import kl_divergence

REASON = "llama-cpp-python is not installed; run: pip install 'pytest-lmbench[llama]'"
pytest.importorskip("llama_cpp", reason=REASON)
gguf = pytest.importorskip("gguf", reason=REASON)
from lmbench.backends import gguf_export  # noqa: E402
from lmbench.backends import llama_cpp as backend  # noqa: E402

LAYERS = 2
MATRICES = 2 + 7 * LAYERS
NORMS = 1 + 2 * LAYERS


def int4(model: Any, path: Path, folder: Path) -> Path:
    return gguf_ways.int4_weights(model, path, folder, 32)


WAYS: dict[str, tuple[FileChange, str, dict[str, int], float, float]] = {
    "fp16": (gguf_ways.f16, "fp16", {"F16": MATRICES}, 0.51, 5e-8),
    "bf16": (gguf_ways.bf16, "bf16", {"BF16": MATRICES}, 0.51, 2e-6),
    "int8": (gguf_ways.int8_weights, "fp32", {"Q8_0": MATRICES}, 0.28, 2e-5),
    "int4": (int4, "fp32", {"Q4_0": MATRICES - 1, "Q8_0": 1}, 0.2, 2e-3),
    "q4_k_m": (gguf_ways.q4_k_m, "fp32", {"Q5_0": MATRICES - 3, "Q8_0": 3}, 0.25, 4e-4),
}
"""What is called, what is computed in, tensors per type beside the norms, share of the fp32 bytes, largest KL divergence, some times what is found."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def nano(**options: Any) -> Any:
    return decoder.build("nano", {"size": "nano", **options}, corpora.split("words", "some words\n" * 9), 0)


@pytest.fixture(scope="module")
def model() -> Any:
    return nano(hidden=128, mlp=160)


def level(way: FileChange | None, precision: str) -> Any:
    bound = Bound(kl_max=1, top1_min=0, perplexity_ratio_max=9)
    files = {} if way is None else {"gguf": way}
    return Level(name="x", lineage={"way": getattr(way, "__name__", "none")}, bound=bound, files=files, precision=precision)


def logits(model: Any, method: Any) -> tuple[FloatArray, dict[str, Any]]:
    engine = backend.load(model, method, {"threads": 1})
    ids = np.random.default_rng(0).integers(0, 256, size=(2, 24))
    first, state = engine.forward(ids[:, :20], np.arange(20), engine.empty_state(2))
    rest, state = engine.forward(ids[:, 20:], np.arange(4), state)
    return np.concatenate([first, rest], axis=1), {**engine.describe(), "state_bytes": state[0].nbytes}


@pytest.mark.parametrize("name", WAYS)
def test_a_level_stores_what_it_says_and_stays_near_the_parent(model: Any, name: str) -> None:
    way, precision, types, share, kl = WAYS[name]
    plain, plain_facts = logits(model, none({}))
    found, facts = logits(model, level(way, precision))
    assert facts["types"] == {**types, "F32": NORMS}
    assert facts["weight_bytes"] < share * plain_facts["weight_bytes"]
    assert facts["disk_bytes"] < plain_facts["disk_bytes"]
    assert 0 < kl_divergence(plain, found) < kl
    assert facts["state_bytes"] * (1 if precision == "fp32" else 2) == plain_facts["state_bytes"]
    assert facts["state_dtype"] == {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision]


def test_the_parent_file_is_left_as_it_was(model: Any, tmp_path: Path) -> None:
    path = gguf_export.exported(model, gguf_export.llama_of(model))
    before = path.read_bytes()
    assert gguf_ways.int8_weights(model, path, tmp_path) == tmp_path / path.name
    assert path.read_bytes() == before


@pytest.mark.parametrize("way", [gguf_ways.int8_weights, int4, gguf_ways.q4_k_m])
def test_rows_that_do_not_fill_groups_are_an_error_not_fp16(tmp_path: Path, way: FileChange) -> None:
    odd = nano(hidden=48, mlp=96)
    path = gguf_export.exported(odd, gguf_export.llama_of(odd))
    with pytest.raises(
        SubjectError, match=r"found 14 matrices whose rows are no multiple of 32, such as 'output\.weight' with 48"
    ):
        way(odd, path, tmp_path)
    types = Counter(tensor.tensor_type.name for tensor in gguf.GGUFReader(gguf_ways.f16(odd, path, tmp_path)).tensors)
    assert types == {"F16": MATRICES, "F32": NORMS}


def test_other_groups_are_a_fault_of_configuration(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="group_size: found 64; expected 32"):
        gguf_ways.int4_weights(model, tmp_path / "model.gguf", tmp_path, 64)


@pytest.mark.parametrize("way", [gguf_ways.f16, gguf_ways.int8_weights])
def test_what_the_quantizer_cannot_read_is_an_error_that_says_why(
    tmp_path: Path, way: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SubjectError, match=r"cannot make a (F16|Q8_0) file of .*none\.gguf: .*No such file"):
        way(None, tmp_path / "none.gguf", tmp_path)
    assert capfd.readouterr() == ("", "")
