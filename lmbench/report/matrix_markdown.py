"""The matrix as Markdown for a job summary or a pull request: one table per model, footnotes for what is not known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lmbench.report.markdown import escape
from lmbench.report.matrix import Matrix, ModelMatrix
from lmbench.report.matrix_columns import Column, Value, entry
from lmbench.report.matrix_terms import term_table
from lmbench.report.matrix_words import (
    TITLE,
    WITHIN_WORDS,
    advice,
    cautions,
    failed,
    heading,
    marks,
    measured_in,
    notes,
    nothing,
    parent,
    reasons,
    skipped,
    sources,
    zeros,
)


def render_matrix_markdown(matrix: Matrix) -> str:
    """The whole document."""
    parts = [f"# {TITLE}", "", escape(measured_in(matrix)), ""]
    for model in matrix.models:
        parts += _model(model)
    parts += [escape(nothing(matrix)), ""] if not matrix.models else []
    parts += _endings(matrix)
    parts += [line for note in notes(matrix) for line in (escape(note), "")]
    return "\n".join(parts).rstrip() + "\n"


def _model(model: ModelMatrix) -> Iterator[str]:
    yield from (f"## {escape(model.group.model.name)}", "", escape(heading(model)), "", escape(parent(model)), "")
    why = reasons(model)
    if model.rows:
        yield from _matrix(model, {place: number for number, place in enumerate(why, start=1)})
        yield ""
    yield from (f"{number}. {escape(text)}" for number, text in enumerate(why.values(), start=1))
    yield from ("", f"**{WITHIN_WORDS}**", "") if model.rows else ()
    yield from (f"- {escape(text)}" for text in [*advice(model), *zeros(model)])
    yield ""
    for text in cautions(model):
        yield from (f"> **Caution:** {escape(text)}", "")
    terms = term_table(model)
    if terms is not None:
        yield from (f"<details><summary>{escape(terms.title)}</summary>", "")
        yield from _table(terms.head, ([escape(cell) for cell in row] for row in terms.rows), numbers=2)
        yield from ("", *(escape(note) for note in terms.notes), "", "</details>", "")
    yield from (escape(" ".join(sources(model))), "")


def _matrix(model: ModelMatrix, numbers: Mapping[tuple[str, str], int]) -> Iterator[str]:
    rows = []
    for index, row in enumerate(model.rows):
        name = f"**{escape(row.name)}**" if index == model.parent else escape(row.name)
        rows.append(
            [name, marks(model, index), *(_cell(row.values.get(column.key), column, numbers) for column in model.columns)]
        )
    yield from _table(("cell", "fronts", *(column.title for column in model.columns)), rows, numbers=2)


def _cell(value: Value | None, column: Column, numbers: Mapping[tuple[str, str], int]) -> str:
    if value is None:
        return ""
    number = numbers.get((column.key, value.reason))
    return escape(entry(value, column)) + (f"<sup>{number}</sup>" if number else "")


def _endings(matrix: Matrix) -> Iterator[str]:
    parts = (
        ("Failed", ("model", "cell", "case", "why"), failed(matrix)),
        ("Skipped", ("cells", "reason and remedy"), skipped(matrix)),
    )
    for title, head, rows in parts:
        if rows:
            yield from (f"## {title}", "")
            yield from _table(head, (tuple(map(escape, row)) for row in rows))
            yield ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int | None = None) -> Iterator[str]:
    """A table of escaped cells; columns from `numbers` on are right-aligned."""
    yield f"| {' | '.join(map(escape, head))} |"
    yield "|" + "".join("---:|" if numbers is not None and index >= numbers else "---|" for index in range(len(head)))
    for row in rows:
        yield f"| {' | '.join(row)} |"
