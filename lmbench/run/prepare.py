"""What is built once before a case is measured, in processes of their own, so that no case pays for it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lmbench.base.cache import build_once, published
from lmbench.base.digest import digest
from lmbench.base.entry import ENDPOINT
from lmbench.base.environments import key_of
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS
from lmbench.base.threads import thread_budget
from lmbench.measure.ceilings import Ceilings, known_ceilings
from lmbench.measure.machine import usable_cpus
from lmbench.plan.case import Case
from lmbench.plan.threads import on_machine
from lmbench.run.execute import Setting, at_work
from lmbench.run.isolate import run_isolated

PREPARED = "prepared"
MEASURE_CEILINGS = "from lmbench.measure.ceilings import ceilings; ceilings(threads={})"
TIMEOUT_S = 120.0


def ceilings_first(cases: Iterable[Case]) -> bool:
    """Measure this machine's ceilings for every number of threads that a case computes with, unless they are cached.

    True when it was tried. A failure is no error here: MFU and MBU are then None, and say why.
    """
    able = [case for case in cases if BACKENDS[case.backend.kind].needs and MODELS[case.model.kind].form != ENDPOINT]
    missing = [count for count in sorted(set(map(_threads, able))) if not isinstance(known_ceilings(count), Ceilings)]
    quiet = subprocess.DEVNULL
    for count in missing:
        command = [sys.executable, "-c", MEASURE_CEILINGS.format(count)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=TIMEOUT_S, check=False)
    return bool(missing)


def _threads(case: Case) -> int:
    asked = on_machine(case, usable_cpus()).backend.options.get("threads")
    return at_work(case, thread_budget(asked if isinstance(asked, int) else None).threads)


def artifacts_first(case: Case, setting: Setting, progress: Callable[[str], None], root: Path) -> bool:
    """Run `case` once, unmeasured, the first time its subject is met; True when it was tried.

    Training a small model, exporting a graph and asking the parent leave their results in the cache and their memory
    in the process: without this a run on a cold cache would show other peaks than every later one. Nothing of a user's
    own code is kept, so there is nothing to prepare for it. A failure is left to the measured run to report.
    """
    needs = [*MODELS[case.model.kind].needs, *BACKENDS[case.backend.kind].needs, *COMPRESSIONS[case.compression.kind].needs]
    real = BACKENDS[case.backend.kind].needs or BACKENDS[case.backend.kind].env
    if not real or case.model.kind == "imported" or MODELS[case.model.kind].form == ENDPOINT:
        return False
    axes = {axis: asdict(getattr(case, axis)) | {"name": ""} for axis in ("model", "backend", "compression")}
    versions = {module: _version(module) for module in ("pytest-lmbench", *(need.module for need in needs))}
    env = BACKENDS[case.backend.kind].env
    if env:
        versions["environment"] = digest(key_of(env))
    key = {**axes, "corpus": dict(case.corpus), "seed": case.seed, "versions": versions}
    if published(PREPARED, key):
        return False
    record = run_isolated(case, replace(setting, once=True), lambda text: progress(f"first time, preparing: {text}"), root)
    if record.failure is None:
        build_once(PREPARED, key, lambda _: None)
    return True


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:
        return "unknown"
