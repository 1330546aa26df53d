"""Memory predicted from declarations: parameters counted without building, terms by case, and the skip that follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import Unavailable
from lmbench.base.registry import MODELS, resolve
from lmbench.data import corpora
from lmbench.plan.case import Case, Choice
from lmbench.run import build as room
from lmbench.run.execute import Setting, execute
from lmbench.subject.footprint import predicted

pytest.importorskip("torch", reason="torch is not installed; run: pip install 'pytest-lmbench[torch]'")
SOURCE = {"source": "python-reference"}
# Llama 2 7B (Touvron et al. 2023) but for its vocabulary, which is that of the corpus here.
LLAMA = {"layers": 32, "hidden": 4096, "heads": 32, "mlp": 11008, "tokenizer": "bytes"}
LAYERS_OF_LLAMA_7B = 6_738_415_616 - 2 * 32_000 * 4096
BYTES = 256


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "footprint"))


def case(backend: str = "torch", level: str = "none", workload: str = "scoring", **model: Any) -> Case:
    return Case(
        suite="s",
        name="one",
        workload=workload,
        params={},
        model=Choice(name="m", kind="decoder", options=model or LLAMA),
        backend=Choice(name=backend, kind=backend),
        compression=Choice(name=level, kind=level),
        corpus=SOURCE,
    )


def counted(kind: str, options: dict[str, Any]) -> int | None:
    counter = MODELS[kind].counter
    assert counter is not None
    found: int | None = resolve(counter)("m", options, corpora.load(SOURCE))
    return found


def test_a_seven_billion_model_is_counted_without_memory_for_it() -> None:
    assert counted("decoder", LLAMA) == LAYERS_OF_LLAMA_7B + 2 * BYTES * 4096


@pytest.mark.parametrize("kind", ["decoder", "moe"])
def test_the_count_is_that_of_the_built_model(kind: str) -> None:
    options = {"size": "nano"}
    built = resolve(MODELS[kind].target)("m", options, corpora.load(SOURCE), 0)
    assert counted(kind, options) == built.facts.parameters


def test_terms_follow_from_level_engine_and_workload() -> None:
    corpus = corpora.load(SOURCE)
    parameters = LAYERS_OF_LLAMA_7B + 2 * BYTES * 4096

    def per_parameter(one: Case) -> float:
        return sum(predicted(one, corpus).values()) / parameters

    assert per_parameter(case()) == 4, "torch runs the parent itself"
    assert per_parameter(case("onnxruntime")) == 8
    assert per_parameter(case(level="bf16")) == 6
    assert per_parameter(case("openvino", "int4-weight-only")) == 4.5
    assert per_parameter(case(level="chain")) == 4, "what a chain leaves is not known"
    assert per_parameter(case(workload="training_step")) == 4 + 16
    together = replace(case(workload="data_parallel"), params={"processes": 2})
    assert per_parameter(together) == 4 + 2 * (4 + 2 * 16)
    on_device = replace(together, backend=Choice(name="torch", kind="torch", options={"device": "cuda"}))
    assert per_parameter(on_device) == 4, "trained on the devices"
    lstm = replace(case(), model=Choice(name="l", kind="lstm"))
    assert predicted(lstm, corpus) == {}


def test_what_does_not_fit_is_a_skip_that_says_by_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "room_bytes", lambda: 30 * 2**30)
    with pytest.raises(Unavailable) as lack:
        execute(case(level="bf16"), Setting(environment="e", machine_class="m"), lambda _: None)
    assert lack.value.reason == (
        "predicted to need 36.2 GiB of memory (fp32 parent 24.13 GiB, weights of bf16 on torch 12.07 GiB), and 30 GiB are free"
    )
    monkeypatch.setattr(room, "room_bytes", lambda: None)
    small = replace(case(), model=Choice(name="m", kind="decoder", options={"size": "nano"}), workload="memory")
    assert execute(small, Setting(environment="e", machine_class="m", once=True), lambda _: None).failure is None


def test_files_are_counted_by_their_headers(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    import numpy as np

    parts = {"a": np.zeros((3, 5), np.float16), "b": np.zeros(7, np.float32)}
    numpy.save_file({"a": parts["a"]}, tmp_path / "model-1.safetensors")
    numpy.save_file({"b": parts["b"]}, tmp_path / "model-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    numpy.save_file(parts, tmp_path / "consolidated.safetensors")
    assert counted("huggingface", {"path": str(tmp_path)}) == 22, "a second copy of the weights is not loaded"
    for file in (index, *tmp_path.glob("*.safetensors")):
        file.unlink()
    assert counted("huggingface", {"path": str(tmp_path)}) is None
