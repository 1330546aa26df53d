"""Records joined into cells: all that was measured of one model x compression x engine, whatever the workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from lmbench.base.digest import digest
from lmbench.plan.case import Case, Choice
from lmbench.record.record import ONCE, Record
from lmbench.store.runs import StoredRun

JOINED = ("latency", "throughput", "scoring", "memory", "cold_start")
"""Workloads that say what a compression level costs or saves; others have no part in the matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One compression level of a model on one engine; `name` is unique among the cells of the model."""

    name: str
    backend: Choice
    compression: Choice
    records: Mapping[str, tuple[Record, ...]]
    """By question (see `question`), newest first."""

    def processes(self, asked: str | None) -> int:
        """How often a question was answered without an error, each time by a process of its own."""
        return sum(record.failure is None for record in self.records.get(asked or "", ()))

    def newest(self, asked: str) -> Record | None:
        """The record that counts for a question; None where the cell was not asked."""
        found = self.records.get(asked)
        return found[0] if found else None

    @property
    def answers(self) -> tuple[Record, ...]:
        """The newest record of every question, in the order of JOINED."""
        return tuple(sorted((found[0] for found in self.records.values()), key=lambda one: JOINED.index(one.case.workload)))

    @property
    def failures(self) -> tuple[Record, ...]:
        """Those answers that are errors."""
        return tuple(record for record in self.answers if record.failure is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cells of one model, trained and checked on the same text, on one class of machine."""

    model: Choice
    corpus: str
    machine_class: str
    cells: tuple[Cell, ...]
    left_out: int
    """Records of the same declared text whose content was another."""


def question(case: Case) -> str:
    """What tells two measurements of a cell apart: workload and parameters. Only answers to the same one are compared."""
    return f"{case.workload} {digest(dict(case.params))}"


def gather(runs: Iterable[StoredRun]) -> tuple[Group, ...]:
    """The groups of all runs, in the order they were measured; records that only tested correctness are left out."""
    groups: dict[str, list[Record]] = {}
    for run in runs:
        for record in run.records:
            if record.case.workload in JOINED and record.mode != ONCE:
                groups.setdefault(_group_key(record), []).append(record)
    return tuple(_group(records) for records in groups.values())


def _group_key(record: Record) -> str:
    case = record.case
    return digest([asdict(case.model), dict(case.corpus), case.seed, record.machine_class])


def _group(records: Sequence[Record]) -> Group:
    newest_first = sorted(records, key=lambda record: record.started_at, reverse=True)
    text = next((record.corpus_digest for record in newest_first if record.corpus_digest), None)
    same = [record for record in newest_first if record.corpus_digest in (text, None)]
    case = records[0].case
    return Group(
        model=case.model,
        corpus=str(case.corpus.get("source", "")),
        machine_class=records[0].machine_class,
        cells=_cells(same, records),
        left_out=len(records) - len(same),
    )


def _cells(newest_first: Sequence[Record], as_measured: Sequence[Record]) -> tuple[Cell, ...]:
    """One cell per engine and level, each axis in the order it was measured in."""
    engines = _order(record.case.backend for record in as_measured)
    levels = _order(record.case.compression for record in as_measured)
    found: dict[tuple[int, int], dict[str, list[Record]]] = {}
    for record in newest_first:
        case = record.case
        place = engines[_key(case.backend)], levels[_key(case.compression)]
        found.setdefault(place, {}).setdefault(question(case), []).append(record)
    choices = {place: next(iter(asked.values()))[0].case for place, asked in found.items()}
    plain = [_name(case, options=False) for case in choices.values()]
    return tuple(
        Cell(
            name=_name(case := choices[place], options=plain.count(_name(case, options=False)) > 1),
            backend=case.backend,
            compression=case.compression,
            records={asked: tuple(records) for asked, records in found[place].items()},
        )
        for place in sorted(found)
    )


def _order(choices: Iterable[Choice]) -> dict[str, int]:
    return {key: position for position, key in enumerate(dict.fromkeys(map(_key, choices)))}


def _key(choice: Choice) -> str:
    return digest(asdict(choice))


def _name(case: Case, *, options: bool) -> str:
    """'onnxruntime int8-dynamic'; with options where the suite's names alone do not tell cells apart."""
    parts = (case.backend, case.compression)
    return " ".join(part.name + (_options(part) if options else "") for part in parts)


def _options(choice: Choice) -> str:
    return "(" + ", ".join(f"{key}={value}" for key, value in choice.options.items()) + ")" if choice.options else ""
