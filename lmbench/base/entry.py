"""One member of an axis as the registry describes it: where its code lies, what it needs, what it can work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ENDPOINT = "endpoint"
"""The form of a model that a server runs: only its answers are seen, so only load can be put on it."""
MODULE = "module"
"""The form of weights that are a torch module following the contract of base.seams."""
PORTABLE = "portable"
"""Among the ways of a compression: it makes a plain torch module of other weights, which every engine can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A module that must be importable, and the extra of this distribution that brings it."""

    module: str
    extra: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of an axis; what does not concern its axis keeps its default.

    Every axis: `target` is 'module:attribute', `options` that of the pydantic model of its options, `needs` what must be
    installed, `refuses` maps another member's name to the reason the two do not go together.
    """

    target: str
    about: str
    options: str | None = None
    """None: keyword arguments of the user's own function."""
    needs: tuple[Need, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    """Backends, compressions and workloads: forms of models they can work with."""

    form: str = MODULE
    """Models: the form they come in."""
    reference: str = "torch"
    """Models: the backend that says what is right."""
    objective: str = "causal"
    """Models: see base.seams."""
    trained: bool = True
    """Models: False: not trained by gradients."""
    counter: str | None = None
    """Models: the target (name, options, corpus) -> number of parameters that counts them before the model is built, so that one
    that does not fit into memory is told without trying; None where that is not known."""

    bits: int | None = None
    """Compressions: of one weight; None: not the same for all of them."""
    ways: tuple[str, ...] = ()
    """Compressions: the forms of weights they can change, or PORTABLE; empty: they change nothing."""

    weights: str = MODULE
    """Backends: the form of weights they load."""
    exporter: str | None = None
    """Backends: the target that makes the file they load, so that making it can be timed by itself."""
    trainer: str | None = None
    """Backends: the target that trains."""
    replica: str | None = None
    """Backends: the target that trains one of several copies in step, each in a process of its own."""
    stateless: bool = False
    """Backends: every step is a full forward pass over a fixed length, whatever the model could carry."""
    env: str | None = None
    """Backends: the environment of its own it runs in (see base.environments)."""

    source: str | None = None
    """Workloads: the target that makes rounds to be measured beside another process."""
    check: str | None = None
    """Workloads: the target that finds faults in parameters which their types do not show."""
    generates: bool = False
    """Workloads: needs a model whose objective is causal."""
    trains: str | None = None
    """Workloads: which target of a backend they train with, 'trainer' or 'replica'; None: they do not train."""
    tripwired: tuple[str, ...] = ()
    """Workloads: the times and rates that can fail a case from stored runs alone: medians (a mean stands in for one that is not
    known) and rates of the thing the workload is about.

    Left out, and at worst inconclusive, is what a single run cannot tell: tails (p90 to p99), of which it has a handful of
    samples; what happens once per run (first_call_s, export_s, load_s); ratios to something that is measured too (mfu, mbu); what
    repeats another (itl repeats tpot). A suite's gate that names one makes it one that can fail.
    """
    decided_by: tuple[str, ...] = ()
    """Workloads: the metrics that pairs of processes decide a case by; empty: one run of the base is enough to compare it with.

    Others that the pairs measure are shown with their intervals and never fail, since each further test costs the others
    resolution. A suite's gate that names one makes it decide.
    """
    per_round: tuple[str, ...] = ()
    """Workloads: the metrics that a single round of `source` can say; anything else needs whole runs."""
