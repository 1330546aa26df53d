"""What a case is predicted to need of memory, from its declaration alone: before anything large is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, WORKLOADS, resolve
from lmbench.data.corpora import Corpus
from lmbench.plan.case import Case

FP32_BYTES = 4
TRAINED: Mapping[str, int] = {"trained copy": 1, "its gradients": 1, "AdamW's moments": 2}
"""fp32 numbers per parameter."""


def predicted(case: Case, corpus: Corpus) -> dict[str, int]:
    """Bytes by term, on the host; empty where the model's parameters are not known before it is built.

    The fp32 parent stays while its levels are made and checked. Beside it lie what is trained, or the weights of a level or an
    engine that keeps its own. Activations, states and what an export takes on the way are not in it: they are small beside the
    weights of models for which this matters, or not known.
    """
    counter = MODELS[case.model.kind].counter
    parameters = None if counter is None else resolve(counter)(case.model.name, case.model.options, corpus)
    if parameters is None:
        return {}
    fp32 = FP32_BYTES * parameters
    terms = {"fp32 parent": fp32}
    level, backend = COMPRESSIONS[case.compression.kind], BACKENDS[case.backend.kind]
    if case.backend.options.get("device", "cpu") != "cpu":
        return terms
    if WORKLOADS[case.workload].trains:
        return _training(terms, fp32, int(case.params.get("processes", 1)))
    if level.bits is not None and (case.compression.kind != "none" or backend.exporter is not None):
        terms[f"weights of {case.compression.name} on {case.backend.name}"] = parameters * level.bits // 8
    return terms


def _training(alone: dict[str, int], fp32: int, processes: int) -> dict[str, int]:
    """One trainer beside the parent; of several processes each has a parent and two trainers (see data_parallel)."""
    if processes == 1:
        return alone | {name: copies * fp32 for name, copies in TRAINED.items()}
    told = {f"{processes} processes' parents": processes * fp32}
    return alone | told | {f"{name}, twice in each": 2 * processes * copies * fp32 for name, copies in TRAINED.items()}
