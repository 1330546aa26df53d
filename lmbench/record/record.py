"""A record: everything kept of one case that was run once.

Schema history
  1  first version
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmbench.measure.measurement import Metric
from lmbench.plan.case import Case

SCHEMA_VERSION = 1
OK, ERROR = "ok", "error"
FULL, ONCE = "full", "once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a case has no measurement: the class of the error, its message, where it came from."""

    kind: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An earlier run of a case in the same session, before it was run again."""

    outcome: str
    """'ok', 'error', 'regressed' ...: how it ended."""
    why: str
    started_at: str
    wall_s: float
    values: Mapping[str, float] = field(default_factory=dict)
    """Its metrics, in their own units; empty when it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One case, run once in one process.

    Durations are in seconds, sizes in bytes. `metrics` also holds the fidelity metrics (perplexity,
    kl_divergence ...). `mode` is 'once' when the case ran only as a correctness test: such a record is
    never compared or stored as a baseline.
    """

    case: Case
    status: str
    started_at: str
    wall_s: float
    environment: str
    """Digest of the environment; the environment itself is stored once per run."""
    machine_class: str
    corpus_digest: str | None = None
    mode: str = FULL
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    primary: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)
    """model facts, compression lineage, engine description, fidelity check"""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """The sampler's summary: per quantity n, min, mean, max; gaps; the sampler's own cost."""
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    """Earlier runs of the case in this session, oldest first; this record is the last one, which counts. Absent from
    the JSON of a case that was run once."""
    elapsed_s: float | None = None
    """What the session spent on the case: `wall_s`, which is its worker's, the start of that process, and files made
    for the engine. None (absent from the JSON) where no session ran the case, and in records stored before it was
    kept: then only `wall_s` is known."""
    schema_version: int = SCHEMA_VERSION
