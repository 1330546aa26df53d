"""A fatter and a wrong model, told apart from an untouched one; real torch, real processes, real comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmbench.plan.case import Case, Choice
from lmbench.record.record import OK, Record
from lmbench.run.execute import Setting
from lmbench.run.isolate import run_isolated
from lmbench.suite.params import LatencyParams

ROOT = Path(__file__).parents[2]
MODEL = """
import torch

LAYERS = 24


def build() -> torch.nn.Module:
    layers = [torch.nn.Linear(384, 384) for _ in range(LAYERS)]
    return torch.nn.Sequential(torch.nn.Embedding(256, 384), *layers, torch.nn.Linear(384, 256))
"""
SUITE = """
models: {mine: {model: "mymodels:build"}}
matrix: {model: mine}
cases:
  size: {workload: memory, tokens: 128}
"""


def suite(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest",
        "--benchmark-storage=file://baselines/{machine_class}", *arguments, timeout=1200,
    )  # fmt: skip


def test_twice_the_layers_is_fatter_and_an_untouched_rerun_is_not(pytester: pytest.Pytester) -> None:
    """That they are slower too is measured by tests/perf/slower.py: no test is decided by a clock."""
    pytester.path.joinpath("mymodels.py").write_text(MODEL)
    pytester.path.joinpath("a.suite.yaml").write_text(SUITE)
    suite(pytester, "--benchmark-autosave").assert_outcomes(passed=1)
    suite(pytester, "--benchmark-compare").assert_outcomes(passed=1)
    pytester.path.joinpath("mymodels.py").write_text(MODEL.replace("LAYERS = 24", "LAYERS = 48"))
    worse = suite(pytester, "--benchmark-compare")
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["*regressed: weights_bytes: *", "*regressed: parameters: *", "*1 case: 1 regressed*"])


def cell() -> Case:
    budget = {"min_rounds": 2, "max_rounds": 2, "min_warmup_rounds": 1, "max_warmup_s": 0.1}
    params = LatencyParams.model_validate({"prompt_tokens": 8, "output_tokens": 4, "budget": budget})
    return Case(
        suite="s.suite.yaml",
        name="one",
        workload="latency",
        params=params.model_dump(),
        model=Choice(name="nano", kind="decoder", options={"size": "nano"}),
        backend=Choice(name="onnxruntime", kind="onnxruntime"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )


def run() -> Record:
    return run_isolated(cell(), Setting(environment="e", machine_class="m"), print, ROOT)


def test_a_subject_with_perturbed_weights_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exported graph in the cache is damaged; the engine still runs it, fast and wrong."""
    import onnx
    from onnx import numpy_helper

    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    assert run().status == OK
    rng = np.random.default_rng(0)
    for path in tmp_path.glob("onnx/*/model.onnx"):
        graph = onnx.load(path)
        for weight in graph.graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.dtype == np.float32 and values.ndim == 2:
                noisy = values + rng.normal(scale=values.std(), size=values.shape).astype(np.float32)
                weight.CopyFrom(numpy_helper.from_array(noisy, weight.name))
        onnx.save(graph, path)
    record = run()
    assert record.failure is not None
    assert record.failure.kind == "FidelityError"
    assert "kl_divergence" in record.failure.message
