"""A small suite on the fake model, run by a real pytest in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SUITE = """
models:
  stub: {model: fake, vocab_size: 32}
matrix: {model: stub, backend: fake}
cases:
  speed:
    workload: latency
    prompt_tokens: 4
    output_tokens: 3
    tags: [fast]
    budget: {min_rounds: 5, max_rounds: 6, max_time_s: 0.2, min_warmup_rounds: 1, max_warmup_s: 0.2}
  size: {workload: memory, tokens: 8, tags: [slow]}
"""
ENVIRONMENT = ("LMBENCH_CACHE", "PYTEST_ADDOPTS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")

QUIET = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "lmbench_tests_child")
"""Without the plugins that only this repository's own tests use; what every session finds out about the machine is shared."""

CALM = ("--lmbench-max-contention=off",)
"""Tests run on busy machines too: what they compare is far beyond any contention."""

Runner = Callable[..., pytest.RunResult]


@pytest.fixture
def bench(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs pytest in a subprocess of its own folder, with the storage the README recommends."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        addopts = "--strict-markers --benchmark-storage=file://baselines/{machine_class}"
        """
    )
    write(pytester, SUITE)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*QUIET, *CALM, *arguments)

    return run


def write(pytester: pytest.Pytester, text: str, name: str = "a.suite.yaml") -> None:
    """Put a suite file into the test's folder."""
    pytester.path.joinpath(name).write_text(text)
