"""What users of pytest expect of collected suites: ids, selection, skips, faults, and a light start."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")

Bench = Callable[..., pytest.RunResult]


def put(pytester: pytest.Pytester, text: str, name: str = "a.suite.yaml") -> Path:
    path = pytester.path / name
    path.write_text(text)
    return path


def test_cells_are_items_with_stable_ids(bench: Bench) -> None:
    result = bench("--collect-only", "-q", "--lmbench-slow")
    result.stdout.fnmatch_lines(["a.suite.yaml::speed[[]stub-fake-none[]]", "a.suite.yaml::size[[]stub-fake-none[]]"])


def test_slow_cells_are_left_out_and_counted(bench: Bench) -> None:
    result = bench("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*1/2 tests collected (1 deselected)*"])


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("-m", "slow"), ["size"]),
        (("-m", "fast"), ["speed"]),
        (("-k", "speed"), ["speed"]),
        (("--lmbench-slow", "-k", "stub-fake"), ["speed", "size"]),
        (("a.suite.yaml::size[stub-fake-none]",), ["size"]),
    ],
)
def test_selection_works_as_in_any_test_file(bench: Bench, arguments: tuple[str, ...], found: list[str]) -> None:
    result = bench("--collect-only", "-q", *arguments)
    ids = [line for line in result.outlines if "::" in line]
    assert ids == [f"a.suite.yaml::{name}[stub-fake-none]" for name in found]


def test_all_faults_of_a_suite_are_shown_and_other_suites_still_run(bench: Bench, pytester: pytest.Pytester) -> None:
    put(pytester, "cases:\n  one: {workload: latncy}\n  two: {workload: memory, tokns: 4}\n", "bad.suite.yaml")
    result = bench("-q", "--benchmark-disable", "--continue-on-collection-errors")
    result.stdout.fnmatch_lines(
        [
            "*bad.suite.yaml:2: cases.one: found workload 'latncy'*Did you mean 'latency'*",
            "*bad.suite.yaml:3: cases.two.tokns: found an unknown key*Did you mean 'tokens'*",
        ]
    )
    result.assert_outcomes(passed=1, errors=1, deselected=1)


def test_what_cannot_run_is_a_skip_with_reason_and_remedy(bench: Bench, pytester: pytest.Pytester) -> None:
    text = "models: {m: {model: decoder}}\nmatrix: {model: m, backend: onnxruntime, compression: bf16}\ncases: {a: {workload: latency}}"
    put(pytester, text)
    result = bench("-q", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*bfloat16*use torch for bf16*"])


@needs_torch
def test_a_model_that_was_not_fetched_is_a_skip(
    bench: Bench, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    put(pytester, "models: {m: {model: huggingface, path: smollm2}}\nmatrix: {model: m}\ncases: {a: {workload: latency}}")
    result = bench("-q", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*run `lmbench fetch smollm2`*"])


def test_benchmark_compare_that_swallowed_a_path_is_refused(bench: Bench) -> None:
    result = bench("--benchmark-compare", "a.suite.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*took 'a.suite.yaml' as the run to compare with*Put the path first*"])


def test_benchmark_skip_skips(bench: Bench) -> None:
    bench("--benchmark-skip").assert_outcomes(skipped=1, deselected=1)


def test_a_plain_session_does_not_load_the_plugin_s_rooms(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_one(): assert not {'lmbench.plugin.session', 'torch', 'numpy'} & set(sys.modules)")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_a_thousand_cells_collect_without_torch_and_in_proportion(pytester: pytest.Pytester) -> None:
    models = {f"m{index}": {"model": "decoder", "layers": index + 1} for index in range(250)}
    suite = {"models": models, "matrix": {"model": list(models), "backend": ["torch", "onnxruntime"]}}
    cases = {"cases": {"one": {"workload": "latency"}, "two": {"workload": "memory"}}}
    put(pytester, json.dumps({**suite, **cases}))
    code = (
        "import sys, pytest; status = pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider'])\n"
        "print('HEAVY', sorted({'torch', 'onnxruntime', 'onnx', 'transformers'} & set(sys.modules)), int(status))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=pytester.path, check=True)
    assert "1000 tests collected" in shown.stdout
    assert "HEAVY [] 0" in shown.stdout
