"""How many threads an engine gets in a case: what the suite says, and the number that makes on a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lmbench.base.errors import Problem
from lmbench.base.registry import BACKENDS
from lmbench.base.threads import thread_budget
from lmbench.plan.case import Case, Choice
from lmbench.suite.document import Document, dotted
from lmbench.suite.load import Suite
from lmbench.suite.schemas import schema

OPTION, CPUS = "threads", "cpus"


def with_threads(backend: Choice, asked: int | str | None) -> Choice:
    """The backend with the threads that a case asks for in place of its own option."""
    return backend if asked is None else replace(backend, options={**backend.options, OPTION: asked})


def on_machine(case: Case, cpus: float) -> Case:
    """The case with its threads as a number: `cpus-1` is one less than the machine's CPUs, at least 1.

    It is never more than the thread budget: who sets OMP_NUM_THREADS=1 gets one thread in such a case, too.
    """
    asked = case.backend.options.get(OPTION)
    if not isinstance(asked, str):
        return case
    left = int(cpus) - int(asked.removeprefix(CPUS).removeprefix("-") or 0)
    count = max(1, min(left, thread_budget().threads))
    return replace(case, backend=with_threads(case.backend, count))


def without_threads(suite: Suite, cases: list[Case]) -> Iterator[Problem]:
    """Cases that set threads of a backend without that option."""
    for case in cases:
        asked = suite.spec.cases[case.name].threads
        known = schema(BACKENDS[case.backend.kind])
        if asked is None or (known is not None and OPTION in known.model_fields):
            continue
        key = ("cases", case.name, OPTION)
        place = Document(places=dict(suite.places)).place(key, suite.shown_as)
        found = f"{asked}, and the case runs on the backend {case.backend.name}"
        yield Problem(
            file=place.file,
            line=place.line,
            key=dotted(key),
            found=found,
            expected=f"backends with the option {OPTION!r}",
            hint=f"Leave {OPTION} out, or exclude that backend from the case's matrix.",
        )
