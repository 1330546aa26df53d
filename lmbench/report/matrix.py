"""The noun of the matrix: every cell of a model beside its fp32 parent, with the fronts and what to choose from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmbench.base.registry import MODELS
from lmbench.compare.frontier import RISES, SPEED, Best, Candidate, Span, best, droppable, front
from lmbench.report.matrix_cells import Cell, Group, gather
from lmbench.report.matrix_columns import (
    CLAIMED,
    COLUMNS,
    DENSE,
    QUALITY,
    ZEROS,
    Claim,
    Column,
    Source,
    Value,
    claim,
    source_of,
    times,
    value_of,
    why_absent,
)
from lmbench.report.model import SkipGroup, group_skips
from lmbench.run.execute import contention
from lmbench.store.runs import Skip, StoredRun

PARENT = "none"
"""The compression of an fp32 parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell of a model: its values by the key of their column."""

    cell: Cell
    values: Mapping[str, Value]
    claim: Claim | None = None
    """What the level says of its zeros; None: it makes none."""
    gained: bool | None = None
    """Whether zeros alone made it clearly faster than its engine without compression; None where that cannot be told."""

    @property
    def name(self) -> str:
        return self.cell.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMatrix:
    """All cells of one model. `rows` are those of which anything was measured; indices are theirs."""

    group: Group
    rows: tuple[Row, ...]
    parent: int | None
    """The row whose values the ratios are to; None: that of each engine's own fp32 cell, or none."""
    sources: tuple[Source, ...]
    """One per column that some cell knows, in the order of the table."""
    absent: tuple[tuple[str, str], ...]
    """Titles of columns that no cell knows, and why."""
    objectives: Mapping[str, Source]
    """What each objective is measured by."""
    fronts: Mapping[str, Mapping[int, int | None]]
    """Per objective: row -> None for a member of the front of quality against it, else the member that dominates it."""
    bests: Mapping[str, Best]
    dropped: Mapping[int, int]
    """Row -> the row to keep instead."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the table, the two about zeros included where a level claims some."""
        shown = [source.column for source in self.sources]
        return (*shown, CLAIMED, DENSE) if any(row.claim for row in self.rows) else tuple(shown)

    def failures(self) -> list[tuple[str, str, str]]:
        """(cell, case, reason) of every case of it that failed."""
        found = [(cell.name, record.case.name, record.failure) for cell in self.group.cells for record in cell.failures]
        return [(name, case, f"{failure.kind}: {failure.message}") for name, case, failure in found if failure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Every model of the runs, and the cells that were skipped."""

    runs: tuple[StoredRun, ...]
    models: tuple[ModelMatrix, ...]
    skipped: tuple[SkipGroup, ...]


def build_matrix(runs: Sequence[StoredRun]) -> Matrix:
    """The matrix of the newest record of every cell and question in `runs`."""
    measured = {record.case.node_id for run in runs for record in run.records}
    reasons = {skip.node_id: skip.reason for run in runs for skip in run.skipped if skip.node_id not in measured}
    return Matrix(
        runs=tuple(runs),
        models=tuple(_model(group) for group in gather(runs)),
        skipped=group_skips(Skip(node_id=node_id, reason=reason) for node_id, reason in reasons.items()),
    )


def _model(group: Group) -> ModelMatrix:
    cells = [cell for cell in group.cells if len(cell.failures) < len(cell.answers)]
    parent = _reference(group.model.kind, cells)
    found = {column.key: source_of(column, cells) for column in COLUMNS}
    sources = tuple(source for source in found.values() if source is not None)
    objectives = _objectives(sources)
    rows = tuple(_row(cell, _parent_of(cell, cells, parent), sources) for cell in cells)
    rows = tuple(_with_zeros(row, rows, objectives.get(SPEED)) for row in rows)
    standing = {index: made for index, row in enumerate(rows) if (made := _candidate(row, objectives)) is not None}
    places, candidates = list(standing), list(standing.values())
    bests = {name: best(candidates, name) for name in objectives}
    return ModelMatrix(
        group=group,
        rows=rows,
        parent=parent,
        sources=sources,
        absent=tuple(
            (one.title, why) for one in COLUMNS if found[one.key] is None and one.key != ZEROS and (why := why_absent(one, cells))
        ),
        objectives=objectives,
        fronts={name: _placed(front(candidates, name), places) for name in objectives},
        bests={
            name: Best(index=places[one.index], ties=tuple(places[tie] for tie in one.ties)) for name, one in bests.items() if one
        },
        dropped={index: other for index, other in _placed(droppable(candidates), places).items() if other is not None},
    )


def _reference(kind: str, cells: Sequence[Cell]) -> int | None:
    """The fp32 cell on the reference backend of models of this kind: the first without options of its own, else the first."""
    backend = MODELS[kind].reference if kind in MODELS else None
    fit = [index for index, cell in enumerate(cells) if cell.compression.kind == PARENT and cell.backend.kind == backend]
    return min(fit, key=lambda index: (bool(cells[index].backend.options), index), default=None)


def _parent_of(cell: Cell, cells: Sequence[Cell], reference: int | None) -> Cell | None:
    return _dense(cell, cells) if reference is None else cells[reference]


def _dense(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The fp32 cell of the same engine."""
    return next((one for one in cells if one.compression.kind == PARENT and one.backend == cell.backend), None)


def _objectives(sources: Sequence[Source]) -> dict[str, Source]:
    """Per objective the column that most cells know, in doubt the first."""
    chosen: dict[str, Source] = {}
    for name in RISES:
        fit = [source for source in sources if source.column.objective == name]
        if fit:
            chosen[name] = max(fit, key=lambda source: source.known)
    return chosen


def _row(cell: Cell, parent: Cell | None, sources: Sequence[Source]) -> Row:
    return Row(cell=cell, values={source.column.key: value_of(source, cell, parent) for source in sources})


def _with_zeros(row: Row, rows: Sequence[Row], speed: Source | None) -> Row:
    """`row` with the zeros it claims and what they gained, where it claims any."""
    made = claim(row.cell)
    if made is None:
        return row
    dense = _dense(row.cell, [one.cell for one in rows])
    now = _speed(row, speed)
    own = next((_speed(one, speed) for one in rows if one.cell is dense), None)
    ratio = now.value / own.value if now and own else None
    why = _untold(row.cell, dense, made, speed) if ratio is not None else "the speed of one of the two is not known"
    gain = Value(text=times(ratio), value=ratio, reason=why)
    return Row(
        cell=row.cell,
        values={**row.values, CLAIMED.key: Value(text=made.short), DENSE.key: gain},
        claim=made,
        gained=now.above(own) if now and own and not why else None,
    )


def _untold(cell: Cell, dense: Cell | None, made: Claim, speed: Source | None) -> str:
    """Why a ratio of speeds does not tell what zeros gain; empty where it does."""
    if not made.alone:
        return "the level's other steps act on it too"
    both = [one for one in (cell, dense) if one is not None]
    if any(contention(record.resources) for one in both for record in one.answers):
        return "the CPUs were contended while one of the two was measured"
    lone = speed is not None and any(one.processes(speed.asked) < 2 for one in both)
    return "one of the two was measured in one process only, and another may differ by as much" if lone else ""


def _speed(row: Row, speed: Source | None) -> Span | None:
    return row.values[speed.column.key].span if speed else None


def _candidate(row: Row, objectives: Mapping[str, Source]) -> Candidate | None:
    """What is weighed of a cell; None where its quality is not known, or a case of it failed."""
    quality = row.values.get(QUALITY)
    if quality is None or quality.value is None or quality.ratio is None or row.cell.failures:
        return None
    spans = {name: row.values[source.column.key].span for name, source in objectives.items()}
    return Candidate(
        perplexity=quality.value,
        loss=quality.ratio - 1,
        spans={name: around for name, around in spans.items() if around is not None},
    )


def _placed(found: Mapping[int, int | None], places: Sequence[int]) -> dict[int, int | None]:
    return {places[index]: None if other is None else places[other] for index, other in found.items()}
