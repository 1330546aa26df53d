"""One case run in this process: corpus, subject, sampler, workload, record; whatever fails becomes a record that says so."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lmbench.base.errors import Diverged, LmbenchError, Unavailable
from lmbench.base.registry import WORKLOADS, resolve
from lmbench.base.secrets import LEAST_CHARS, conceal, too_short
from lmbench.measure.ceilings import Ceilings, Peaks, known_ceilings
from lmbench.measure.clock import CLOCK, utc_now
from lmbench.measure.contention import CONTENDED, contention_of
from lmbench.measure.devices import UsedDevices, installed, used_devices
from lmbench.measure.energy import energy
from lmbench.measure.machine import usable_cpus
from lmbench.measure.measurement import Measurement, Metric, Work, metric
from lmbench.measure.objectives import Pin
from lmbench.measure.sampler import Sampler
from lmbench.measure.samples import Samples, summary
from lmbench.measure.utilization import resource_metrics
from lmbench.plan.case import Case
from lmbench.plan.threads import on_machine
from lmbench.record.concealed import concealed_record
from lmbench.record.finite import finite
from lmbench.record.record import ERROR, FULL, OK, ONCE, Failure, Record
from lmbench.record.thread_use import stated
from lmbench.run.build import CaseBuilder, describe
from lmbench.subject.protocol import Subject
from lmbench.workloads.context import Context
from lmbench.workloads.facts import described

UNCHANGED = "the level leaves the model as it is for this engine"
NO_FILE = "the engine loads the model itself, or when its file was made was not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every case of a run shares."""

    environment: str
    """Digest of the environment."""
    machine_class: str
    once: bool = False
    """One quick round as a correctness test; nothing is sampled."""
    hz: float = 20.0
    artifacts: str | None = None
    """Folder for files too large for a record (request logs); None: they are not written."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """Objectives that the case must use where the suite gives none."""
    partial: bool = False
    """Ctrl-C ends a load run early and its record says so, instead of being passed on."""


def execute(case: Case, setting: Setting, progress: Callable[[str], None]) -> Record:
    """Run `case` here and now. Raises Unavailable when the machine lacks what it needs; never raises otherwise."""
    case.declare_secrets()
    started_at, started = utc_now(), CLOCK.now()
    here = on_machine(case, usable_cpus())
    builder = CaseBuilder(here, CLOCK, progress)
    measured: dict[str, Any] = {}
    try:
        measured = _measure(here, setting, builder, progress)
        failure = None
    except Unavailable as lack:
        raise Unavailable(conceal(lack.reason), conceal(lack.remedy)) from None
    except Exception as error:  # noqa: BLE001 - a case that fails must not take the others' records with it
        failure = _failure(error)
        measured = {"details": dict(error.details)} if isinstance(error, Diverged) else {}
    record = Record(
        case=case,
        status=ERROR if failure else OK,
        started_at=started_at,
        wall_s=CLOCK.now() - started,
        environment=setting.environment,
        machine_class=setting.machine_class,
        corpus_digest=builder.corpus.digest if "corpus" in vars(builder) else None,
        mode=ONCE if setting.once else FULL,
        subject=_subject(builder, measured.get("details", {})),
        failure=failure,
        **measured,
    )
    return concealed_record(finite(_with_note(record)))


def _with_note(record: Record) -> Record:
    """Adds which declared secrets are too short to be masked: what a server echoes of them is in the record."""
    short = too_short(record.case.secret_variables)
    if not short:
        return record
    note = (
        f"the value of {', '.join(short)} has fewer than {LEAST_CHARS} characters: it is too short to be masked in what is "
        "written; use a longer key"
    )
    return replace(record, notes=(*record.notes, note))


def _subject(builder: CaseBuilder, details: Mapping[str, Any]) -> dict[str, object]:
    """What was built, with the threads it computed with; nothing where nothing was built here, as for an endpoint."""
    found = describe(builder)
    if not found:
        return {}
    trainer = details.get("trainer")
    use = stated(builder.engine, builder.budget, trainer if isinstance(trainer, Mapping) else None)
    return {**found, "threads": use}


def _measure(case: Case, setting: Setting, builder: CaseBuilder, progress: Callable[[str], None]) -> dict[str, Any]:
    asked: list[Ceilings] = []
    context = Context(
        case=case,
        text=lambda: builder.text,
        build=builder,
        clock=CLOCK,
        progress=progress,
        ceilings=lambda: _ceilings(setting, builder, asked),
        once=setting.once,
        artifacts=None if setting.artifacts is None or setting.once else Path(setting.artifacts),
        pins=setting.pins,
        partial=setting.partial,
    )
    run = resolve(WORKLOADS[case.workload].target)
    if setting.once:
        return _fields(run(context), builder, [], {})
    with Sampler(os.getpid(), hz=setting.hz) as sampler:
        measurement = run(context)
        start, end = builder.window_s
        end = CLOCK.now() if end is None else end
        samples = sampler.stop()
    measurement = replace(measurement, details={**measurement.details, **_roofs(asked)})
    used = _devices(builder, measurement.details, samples)
    resources = summary(samples, start=start, end=end, used=used)
    resources["contention"] = asdict(contention_of(resources, cpus=usable_cpus()))
    return _fields(measurement, builder, _resources(resources, measurement.work, samples, used), resources)


def _fields(
    measurement: Measurement, builder: CaseBuilder, extras: Sequence[Metric], resources: Mapping[str, Any]
) -> dict[str, Any]:
    metrics = dict(measurement.metrics)
    for extra in (*_fidelity(builder), *_loading(builder), *_sizes(builder), *extras):
        metrics.setdefault(extra.name, extra)
    return {
        "metrics": metrics,
        "series": measurement.series,
        "primary": measurement.primary,
        "details": measurement.details,
        "notes": (*measurement.notes, *contention(resources), *(builder.budget.notes if builder.engine else ())),
        "resources": resources,
    }


def contention(resources: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence when tasks kept waiting for a CPU while the case was measured, whoever's they were (PSI, from the summary).

    Alone on its machine a case whose threads match the CPUs shows 0.01 to 0.05; a busy neighbour makes it 0.5 and
    more, and an engine whose threads wait for each other can then be tens of times slower.
    """
    share = resources.get("quantities", {}).get("psi_cpu_some_share", {}).get("mean")
    if share is None or share < CONTENDED:
        return ()
    return (
        f"the CPUs were contended: tasks waited for one {share:.0%} of the measured time, so times are too long; "
        "stop other work on this machine, or give the engine fewer threads than CPUs, and measure again",
    )


def _fidelity(builder: CaseBuilder) -> list[Metric]:
    if not isinstance(builder.last, Subject):
        return []
    fidelity = builder.last.fidelity
    return [metric(name, value, reason=fidelity.reasons.get(name, "")) for name, value in fidelity.values.items()]


def _loading(builder: CaseBuilder) -> list[Metric]:
    if builder.load_s is None:
        return []
    parts = (("compress_s", builder.compress_s, UNCHANGED), ("export_s", builder.export_s, NO_FILE))
    found = [metric(name, value, n=1) if value is not None else metric(name, None, reason=why) for name, value, why in parts]
    return [metric("load_s", builder.load_s, n=1), *(found if isinstance(builder.last, Subject) else [])]


def _sizes(builder: CaseBuilder) -> list[Metric]:
    if not isinstance(builder.last, Subject):
        return []
    engine = builder.last.description["engine"]
    return [described("weights_bytes", engine, "weight_bytes"), described("disk_bytes", engine)]


def _devices(builder: CaseBuilder, details: Mapping[str, Any], samples: Samples) -> UsedDevices:
    """The GPUs whose energy is that of the case; of several trainers each has the next device."""
    engine, trainer = builder.engine, details.get("trainer")
    processes = trainer.get("processes", 1) if isinstance(trainer, Mapping) else 1
    device = engine.get("device")
    return used_devices(None if device is None else str(device), installed(samples.header), os.environ, int(processes))


def _resources(resources: Mapping[str, Any], work: Work | None, samples: Samples, used: UsedDevices) -> list[Metric]:
    if work is None:
        return resource_metrics(resources, cpus=usable_cpus())
    spent = energy(samples.header, samples.rows, work.start_s, work.end_s, used)
    return resource_metrics(resources, cpus=usable_cpus(), work=spent, tokens=work.tokens)


def _ceilings(setting: Setting, builder: CaseBuilder, asked: list[Ceilings]) -> Peaks:
    """The ceilings of the threads and the device that the case computes with, kept in `asked` where they are known."""
    if setting.once:
        return None
    used = builder.engine.get("threads")
    threads = at_work(builder.case, used) if isinstance(used, int) else None
    found = known_ceilings(threads, str(builder.engine.get("device", "cpu")))
    if isinstance(found, Ceilings):
        asked.append(found)
    return found


def at_work(case: Case, threads: int) -> int:
    """Threads that compute at once: of every worker that serves requests in this process, yet not more than there are CPUs."""
    workers = case.params.get("workers") if case.workload == "stress" else 1
    return max(threads, min(threads * (workers if isinstance(workers, int) else 1), int(usable_cpus())))


def _roofs(asked: Sequence[Ceilings]) -> dict[str, Any]:
    """What MFU and MBU were computed against, for the record's details; nothing where the workload did not ask."""
    if not asked:
        return {}
    one = asked[-1]
    return {
        "ceilings": {
            "matmul_flops": dict(one.matmul_flops),
            "memory_bytes_per_s": one.memory_bytes_per_s,
            "measured_at": one.measured_at,
            "threads": one.threads,
        }
    }


def _failure(error: Exception) -> Failure:
    kind = type(error).__name__
    trace = "" if isinstance(error, LmbenchError) else "".join(traceback.format_exception(error))
    return Failure(kind=kind, message=str(error) or kind, traceback=trace)
