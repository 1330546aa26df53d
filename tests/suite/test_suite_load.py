"""Suite files: inheritance, every fault at once with file, line and a near match."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmbench.base.errors import ConfigError, Problem
from lmbench.suite.load import Suite, json_schema, load

MINIMAL = """
models:
  tiny: {model: fake}
matrix: {model: tiny, backend: fake}
cases:
  one: {workload: latency}
"""


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def suite(root: Path, text: str) -> Suite:
    return load(write(root, "a.suite.yaml", text), root)


def faults(root: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        suite(root, text)
    return caught.value.problems


def test_a_minimal_suite_gets_its_defaults(tmp_path: Path) -> None:
    spec = suite(tmp_path, MINIMAL).spec
    assert spec.corpus == "python-reference"
    assert spec.matrix.backend == ["fake"]
    assert spec.cases["one"].model_dump()["prompt_tokens"] == 64


def test_includes_merge_mappings_and_replace_lists(tmp_path: Path) -> None:
    write(tmp_path, "common/base.yaml", "models:\n  a: {model: fake}\n  b: {model: fake, work: 1}\ntags: [x, y]\nseed: 3\n")
    text = "include: common/base.yaml\nmodels:\n  b: {work: 2}\ntags: z\nmatrix: {model: [a, b], backend: fake}\ncases: {c: {workload: memory}}"
    spec = suite(tmp_path, text).spec
    assert spec.models["b"].model_extra == {"work": 2}
    assert (spec.tags, spec.seed, list(spec.models)) == (["z"], 3, ["a", "b"])


def test_a_cycle_of_includes_is_named(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "include: a.suite.yaml\n")
    found = faults(tmp_path, "include: b.yaml\n" + MINIMAL)
    assert any("a cycle" in problem.found and "a.suite.yaml -> b.yaml" in problem.found for problem in found)


def test_a_missing_include_names_file_and_line(tmp_path: Path) -> None:
    (problem,) = faults(tmp_path, MINIMAL + "include:\n  - nowhere.yaml\n")
    assert (problem.file, problem.line) == ("a.suite.yaml", 8)
    assert "nowhere.yaml" in problem.found


def test_all_faults_come_at_once_with_their_lines(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
models:
  tiny: {model: fak}
matrix:
  model: tiny
  backend: [fake, onnxruntme]
cases:
  one: {workload: latncy}
  two: {workload: latency, promt_tokens: 3, output_tokens: 0}
  three: {workload: stress, slo: {ttft: 1}}
gate:
  latency_p50: 5%
  mfu: lots
""",
    )
    by_key = {problem.key: problem for problem in found}
    assert by_key["models.tiny.model"].line == 3
    assert by_key["models.tiny.model"].hint == "Did you mean 'fake'?"
    assert by_key["matrix.backend[1]"].line == 6
    assert by_key["matrix.backend[1]"].hint == "Did you mean 'onnxruntime'?"
    assert by_key["cases.one"].hint == "Did you mean 'latency'?"
    assert by_key["cases.two.promt_tokens"].hint == "Did you mean 'prompt_tokens'?"
    assert by_key["cases.two.output_tokens"].found == "0"
    assert by_key["cases.three.slo.ttft"].hint == "Did you mean 'ttft_s'?"
    assert by_key["gate.latency_p50"].hint == "Did you mean 'latency_p50_s'?"
    assert by_key["gate.mfu"].found == "'lots'"
    assert len(found) == 8


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    write(tmp_path, "common/base.yaml", "\n\nmodels:\n  a: {model: decoder, sise: mini}\n")
    (problem,) = faults(tmp_path, "include: common/base.yaml\nmatrix: {model: a}\ncases: {c: {workload: memory}}")
    assert (problem.file, problem.line, problem.key) == ("common/base.yaml", 4, "models.a.sise")
    assert problem.hint == "Did you mean 'size'?"


def test_duplicate_keys_are_faults_not_silence(tmp_path: Path) -> None:
    (problem,) = faults(tmp_path, MINIMAL + "seed: 1\nseed: 2\n")
    assert "twice (first on line 7)" in problem.found
    assert problem.line == 8


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "an empty file"), ("- a\n", "a sequence"), ("a: [", "expected node content"), ("cases: {}\nmodels: {}", "{}")],
)
def test_files_that_are_no_suite_say_so(tmp_path: Path, text: str, found: str) -> None:
    problems = faults(tmp_path, text)
    assert any(found in problem.found.replace("the node", "node") for problem in problems)


def test_a_metric_without_a_direction_cannot_be_gated(tmp_path: Path) -> None:
    (problem,) = faults(tmp_path, MINIMAL + "gate: {best_batch: 5%}\n")
    assert "no better direction" in problem.found


@pytest.mark.parametrize(("written", "meant"), [("5%", 0.05), ("0.5 %", 0.005), ("0.1", 0.1), ("0", 0.0)])
def test_tolerances_are_shares_or_percentages(tmp_path: Path, written: str, meant: float) -> None:
    spec = suite(tmp_path, MINIMAL + f"gate: {{perplexity: {written}}}\n").spec
    assert spec.gate["perplexity"] == pytest.approx(meant)


def test_the_schema_describes_every_workload_and_is_json() -> None:
    schema = json.dumps(json_schema())
    for word in ("training_step", "latency", "throughput", "memory", "stress", "include", "prompt_tokens"):
        assert word in schema


def test_the_shipped_suites_are_valid() -> None:
    root = Path(__file__).parents[2]
    files = sorted((root / "suites").glob("*.suite.yaml"))
    assert {file.name.split(".")[0] for file in files} == {
        "quick",
        "matrix",
        "capacity",
        "training",
        "inference",
        "memory",
        "models",
        "stress",
        "gate",
        "serving",
    }
    for file in files:
        assert load(file, root).spec.cases
