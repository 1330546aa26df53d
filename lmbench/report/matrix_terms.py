"""Estimates of memory beside what was measured, for every cell the memory workload ran on."""

from __future__ import annotations

from collections.abc import Iterator

from lmbench.base.units import pretty, pretty_change
from lmbench.report.details import number, rows_of
from lmbench.report.matrix import ModelMatrix
from lmbench.report.tables import Table

Term = tuple[str, str, float | None, float | None, float | None]
"""(cell, term, measured, estimate, measured / estimate - 1), sizes in bytes or bytes per token."""


def terms(model: ModelMatrix) -> Iterator[Term]:
    """Every term of every cell, in the order of the rows."""
    for row in model.rows:
        for record in row.cell.answers:
            for term in rows_of(record, "terms"):
                measured, estimate, error = (number(term, key) for key in ("measured", "estimate", "error"))
                yield row.name, str(term.get("term")), measured, estimate, error


def term_table(model: ModelMatrix) -> Table | None:
    """One line per cell and term; None where the memory workload ran on no cell."""
    lines = tuple(
        (cell, term, *(pretty(size, _unit(term)) for size in (measured, estimate)), _error(error))
        for cell, term, measured, estimate, error in terms(model)
    )
    head = ("cell", "term", "measured", "estimated", "measured / estimated")
    return Table(title="Memory, measured beside estimated", head=head, rows=lines, notes=estimates(model)) if lines else None


def estimates(model: ModelMatrix) -> tuple[str, ...]:
    """One sentence: per term the range of measured / estimate - 1 over all cells, and where it is largest."""
    errors: dict[str, list[tuple[float, str]]] = {}
    for cell, term, _, _, error in terms(model):
        if error is not None:
            errors.setdefault(term, []).append((error, cell))
    if not errors:
        return ()
    parts = "; ".join(f"{term} {_range(found)}" for term, found in errors.items())
    return (f"Measured memory over its estimate: {parts}.",)


def _range(found: list[tuple[float, str]]) -> str:
    low, high, worst = min(found), max(found), max(found, key=lambda pair: abs(pair[0]))
    if _error(low[0]) == _error(high[0]):
        return f"{_error(low[0])} in {'every cell' if len(found) > 1 else found[0][1]}"
    return f"{_error(low[0])} to {_error(high[0])} (worst: {worst[1]})"


def _unit(term: str) -> str:
    return "bytes/token" if "per token" in term else "bytes"


def _error(error: float | None) -> str:
    """'+4.2 %'; from ten times on as a multiple of the estimate."""
    return f"{1 + error:.3g}x" if error is not None and error >= 9 else pretty_change(None if error is None else 1 + error)
