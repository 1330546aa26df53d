"""Why a case cannot run on this machine: the reason and the remedy, found without importing any engine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

from lmbench.base.entry import ENDPOINT, PORTABLE, Entry, Need
from lmbench.base.environments import python_of
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, WORKLOADS
from lmbench.plan.case import Case
from lmbench.suite.names import nested


def obstacle(case: Case) -> str | None:
    """'reason; remedy' when `case` cannot run here, None when nothing known stands in its way."""
    model, backend = MODELS[case.model.kind], BACKENDS[case.backend.kind]
    members = [model, backend, WORKLOADS[case.workload], *(COMPRESSIONS[level] for level in _levels(case)), *_students(case)]
    for found in (
        _form(case, model, backend),
        _served(case, model),
        _answering(case, model),
        _level(case, model, backend),
        *(student.refuses.get(case.backend.kind) for student in _students(case)),
        _padded(case, model, backend),
        _training(case, model, backend),
        _own_environment(case, backend),
        None if backend.env else _missing(need for member in members for need in member.needs),
    ):
        if found:
            return found
    return None


def _form(case: Case, model: Entry, backend: Entry) -> str | None:
    if model.form in backend.takes:
        return model.refuses.get(case.backend.kind)
    fit = [name for name, entry in BACKENDS.items() if model.form in entry.takes]
    return f"{case.backend.kind} cannot load a model of family {case.model.kind}; use {' or '.join(fit)}"


def _served(case: Case, model: Entry) -> str | None:
    if model.form != ENDPOINT or ENDPOINT in WORKLOADS[case.workload].takes:
        return None
    fit = [name for name, entry in WORKLOADS.items() if ENDPOINT in entry.takes]
    return f"of an endpoint only the answers are seen, so {case.workload} cannot measure it; use {' or '.join(fit)}"


def _answering(case: Case, model: Entry) -> str | None:
    if model.objective == "causal" or not WORKLOADS[case.workload].generates:
        return None
    fit = [name for name, entry in WORKLOADS.items() if not entry.generates]
    reason = f"{case.model.kind} predicts hidden tokens and answers no prompt, so {case.workload} cannot measure it"
    return f"{reason}; use {' or '.join(fit)}"


def _level(case: Case, model: Entry, backend: Entry) -> str | None:
    levels = _levels(case)
    for level in levels:
        if model.form not in COMPRESSIONS[level].takes:
            return f"{level} cannot be applied to a model of family {case.model.kind}; use none"
        if refused := model.refuses.get(level) or backend.refuses.get(level):
            return refused
        if not _has_way(level, backend):
            fit = [
                name
                for name, one in BACKENDS.items()
                if model.form in one.takes and all(_has_way(each, one) and each not in one.refuses for each in levels)
            ]
            return f"{level} has no way with the weights {case.backend.kind} loads; use {' or '.join(fit) or 'other steps'}"
    return None


def _levels(case: Case) -> list[str]:
    """The kind of the case's level, and those of a chain's steps."""
    return [
        case.compression.kind,
        *(step["compression"] for axis, _, step in nested(case.compression.options) if axis == "compression"),
    ]


def _students(case: Case) -> list[Entry]:
    """The families of models that take the place of the case's."""
    return [MODELS[student["model"]] for axis, _, student in nested(case.compression.options) if axis == "model"]


def _has_way(level: str, backend: Entry) -> bool:
    ways = COMPRESSIONS[level].ways
    return not ways or bool({PORTABLE, backend.weights} & set(ways))


def _padded(case: Case, model: Entry, backend: Entry) -> str | None:
    if not backend.stateless or model.objective == "causal":
        return None
    return f"{case.backend.kind} pads every pass to a fixed length, and {case.model.kind} would read the padding; use torch"


def _own_environment(case: Case, backend: Entry) -> str | None:
    if backend.env is None:
        return None
    if WORKLOADS[case.workload].needs:
        return (
            f"{case.backend.kind} runs in an environment of its own, which has nothing for {case.workload}; use another backend"
        )
    if python_of(backend.env) is None:
        return f"{case.backend.kind} runs in an environment of its own; run: lmbench env create {backend.env}"
    return None


def _training(case: Case, model: Entry, backend: Entry) -> str | None:
    target = WORKLOADS[case.workload].trains
    if target is None:
        return None
    if not model.trained:
        return f"{case.model.kind} is counted, not trained by gradients, so there is no step to measure; use another model"
    if getattr(backend, target) is None:
        fit = [name for name, entry in BACKENDS.items() if getattr(entry, target)]
        how = " in several processes" if target == "replica" else ""
        return f"{case.backend.kind} does not train{how}; use {' or '.join(fit)}"
    if case.compression.kind != "none":
        return f"training starts from fp32 weights, not from {case.compression.name}; use compression none"
    return None


def _missing(needs: Iterable[Need]) -> str | None:
    lacking = [need for need in dict.fromkeys(needs) if not _installed(need.module)]
    if not lacking:
        return None
    modules = ", ".join(need.module for need in lacking)
    extras = ",".join(dict.fromkeys(need.extra for need in lacking))
    return f"not installed: {modules}; run: pip install 'pytest-lmbench[{extras}]'"


@cache
def _installed(module: str) -> bool:
    return find_spec(module) is not None
