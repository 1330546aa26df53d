"""Declarations inside levels: the student of a distillation and the steps of a chain, with file and line, paths and obstacles."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lmbench.base.errors import ConfigError
from lmbench.plan.case import Case
from lmbench.plan.expand import expand, files_of
from lmbench.plan.select import obstacle
from lmbench.suite.load import load

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")

HEAD = """models:
  gpt: {model: decoder, size: nano}
  fill: {model: encoder, tokenizer: bytes}
matrix: {model: [gpt, fill], backend: [torch, onnxruntime], compression: x}
cases: {score: {workload: scoring}}
compressions:
"""


def cases(root: Path, level: str) -> list[Case]:
    path = root / "suites" / "a.suite.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + level)
    return expand(load(path, root), root)


def obstacles(root: Path, level: str) -> dict[str, str]:
    return {f"{case.model.name}-{case.backend.name}": obstacle(case) or "" for case in cases(root, level)}


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (
            "  x: {compression: distil, steps: 3, student: {model: decoder, szie: nano}}",
            ":7: compressions.x.student.szie: .*'size'",
        ),
        (
            "  x: {compression: distil, steps: 3, student: {model: decodr}}",
            "student.model: found the unknown model 'decodr'.*'decoder'",
        ),
        ("  x: {compression: distil, steps: 3, student: {model: n-gram}}", "student of family n-gram; expected one that trains"),
        ("  x: {compression: distil, steps: 3}", "expected the key 'student'"),
        (
            "  x:\n    compression: chain\n    steps:\n    - {compression: prune-magnitude, sparsity: 5}",
            r":10: compressions.x.steps\[0\].sparsity: found 5",
        ),
        (
            "  x:\n    compression: chain\n    steps:\n    - {compression: distil, steps: 1, student: {model: lstm, size: tinyy}}",
            r":10: compressions.x.steps\[0\].student.size: .*'tiny'",
        ),
        ("  x: {compression: chain, steps: [{compression: int8-dynamik}]}", r"steps\[0\].compression: .*'int8-dynamic'"),
        ("  x: {compression: chain, steps: [{compression: none}]}", "found the step none"),
        (
            "  x: {compression: chain, steps: [{compression: bf16}, {compression: prune-magnitude, sparsity: 0.5}]}",
            "found prune-magnitude after bf16",
        ),
        (
            "  x: {compression: distil, steps: 3, student: {model: lstm, tokenizer: gone.json}}",
            "student.tokenizer: found suites/gone.json",
        ),
    ],
)
def test_faults_inside_levels_have_file_and_line(tmp_path: Path, level: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        cases(tmp_path, level + "\n")


def test_paths_of_students_start_at_the_suite(tmp_path: Path) -> None:
    (tmp_path / "suites" / "hf").mkdir(parents=True)
    case = cases(tmp_path, "  x: {compression: chain, steps: [{compression: distil, steps: 3, student: {model: ./hf}}]}\n")[0]
    assert case.compression.options["steps"][0]["student"] == {"model": "huggingface", "path": "suites/hf"}
    assert files_of(case) == ["suites/hf"]


@needs_torch
def test_every_step_of_a_chain_may_stand_in_the_way(tmp_path: Path) -> None:
    found = obstacles(
        tmp_path, "  x: {compression: chain, steps: [{compression: prune-magnitude, sparsity: 0.5}, {compression: bf16}]}\n"
    )
    assert "no bfloat16 kernels" in found["gpt-onnxruntime"]
    assert found["gpt-torch"] == ""


@needs_torch
def test_models_that_predict_hidden_tokens_do_not_teach(tmp_path: Path) -> None:
    student = "{compression: distil, steps: 3, student: {model: decoder, size: nano}}"
    for level in (f"  x: {student}\n", f"  x: {{compression: chain, steps: [{student}]}}\n"):
        found = obstacles(tmp_path, level)
        assert "predicts hidden ones" in found["fill-torch"]
        assert found["gpt-torch"] == found["gpt-onnxruntime"] == ""
