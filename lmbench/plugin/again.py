"""Plain benchmark tests run again in fresh processes, to confirm what one process alone must not decide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.scratch import scratch
from lmbench.plugin.collect import RUNNER
from lmbench.plugin.confirm import TRIES, WANTED, Confirmation, pressure_now
from lmbench.plugin.inner import QUIET, InnerSession

FORWARDED = ("min_time", "max_time", "min_rounds", "calibration_precision", "warmup_iterations")
"""Options of pytest-benchmark that decide how a test is measured, and so must be those of the session."""
TIMEOUT_S = 1800.0
_TARGET = "LMBENCH_MEDIANS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What more processes measured."""

    medians: Mapping[str, list[float]]
    """Node id -> one median per process, in seconds; fewer for a test that fails there."""
    calm: bool
    """Whether the CPUs were not contended in at least one of them."""


def medians_again(config: pytest.Config, node_ids: Sequence[str], confirmation: Confirmation) -> Again:
    """Run these tests in fresh processes until enough of them were not contended, but in no more than TRIES."""
    found: dict[str, list[float]] = {node_id: [] for node_id in node_ids}
    calm = runs = 0
    while calm < WANTED and runs < TRIES:
        quiet = confirmation.wait()
        if not quiet and runs >= WANTED:
            break
        for node_id, value in _one_process(config, node_ids).items():
            if node_id in found:
                found[node_id].append(value)
        share = pressure_now()
        calm += share is None or share < confirmation.bound
        runs += 1
    return Again(medians=found, calm=calm > 0)


def _one_process(config: pytest.Config, node_ids: Sequence[str]) -> dict[str, float]:
    ini = config.inipath
    options = [f"--rootdir={config.rootpath}", *([f"-c{ini}"] if ini else [])]
    options += [f"--benchmark-{name.replace('_', '-')}={config.getoption(f'benchmark_{name}')}" for name in FORWARDED]
    names = [f"{config.rootpath / file}::{rest}" for file, _, rest in (name.partition("::") for name in node_ids)]
    with scratch("again") as folder:
        target = folder / "medians.json"
        command = [sys.executable, "-m", "lmbench.plugin.again", *options, *names]
        try:
            subprocess.run(
                command,
                cwd=config.invocation_params.dir,
                env={**os.environ, _TARGET: str(target)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            return {str(name): float(value) for name, value in json.loads(target.read_text(encoding="utf-8")).items()}
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return {}


class _Confirming(InnerSession):
    """Keeps this process's session from storing, comparing or reporting anything, and writes its medians down."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUNNER] = _no_suite
        option = config.option
        option.benchmark_compare, option.benchmark_compare_fail = [], None
        option.benchmark_autosave = option.benchmark_save = option.benchmark_json = None
        option.benchmark_histogram, option.benchmark_cprofile, option.benchmark_cprofile_dump = [], None, []
        option.benchmark_disable = option.benchmark_skip = False
        option.xmlpath = None

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        benches = session.config._benchmarksession.benchmarks  # type: ignore[attr-defined]
        medians = {bench.fullname: float(bench.stats.median) for bench in benches if bench and not bench.has_error}
        Path(os.environ[_TARGET]).write_text(json.dumps(medians), encoding="utf-8")


def _no_suite(*_: Any) -> None:
    """Suites are not asked for in this process."""


def main() -> int:
    """Entry point of a confirming process."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the folder the session was started in
    return int(pytest.main([*sys.argv[1:], *QUIET], plugins=[_Confirming()]))


if __name__ == "__main__":
    sys.exit(main())
