"""The matrix in a terminal: columns in as many blocks as its width needs, so that nothing is cut at 80 or wasted at 200."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from lmbench.report.matrix import Matrix, ModelMatrix
from lmbench.report.matrix_columns import Column
from lmbench.report.matrix_terms import estimates
from lmbench.report.matrix_words import (
    DROP,
    WITHIN_WORDS,
    advice,
    cautions,
    failed,
    heading,
    marks,
    notes,
    nothing,
    parent,
    reasons,
    skipped,
    sources,
    zeros,
)
from lmbench.report.terminal import clipped, emit, wrapped

GAP = 2
NAMES_SHARE = 0.4
"""The most of the width that the cells' names may take."""
UNITS = {"tokens/s": "tok/s", "J/token": "J/tok", "bits/byte": "bit/B"}
FRONTS = "fronts"


def render_matrix(matrix: Matrix, console: Console) -> None:
    """Print every model's table, what to choose, why values are missing; then what failed and what was skipped."""
    width = console.width
    for model in matrix.models:
        emit(console, Text(f"\n{model.group.model.name}", style="bold"))
        _say(console, [heading(model), parent(model)], "dim")
        for line in _table(model, width) if model.rows else ():
            emit(console, line)
        _say(console, (f"-  {why}" for why in reasons(model).values()), "dim")
        if model.rows:
            emit(console, Text(f"\n{WITHIN_WORDS}", style="bold"))
        _say(console, (f"Caution: {text}" for text in cautions(model)), "yellow")
        _say(console, [*advice(model), *zeros(model)], "")
        _say(console, [*estimates(model), *sources(model)], "dim")
    if not matrix.models:
        _say(console, [nothing(matrix)], "yellow")
    _endings(matrix, console)
    emit(console, Text(""))
    _say(console, notes(matrix), "dim")


def _endings(matrix: Matrix, console: Console) -> None:
    lost = [f"{model} {cell}, {case}: {why}" for model, cell, case, why in failed(matrix)]
    left = [f"{cells}: {reason}" for cells, reason in skipped(matrix)]
    for title, lines, style in (("failed", lost, "red"), ("skipped", left, "dim")):
        if lines:
            emit(console, Text(f"\n{title}", style="bold"))
            _say(console, lines, style)


def _table(model: ModelMatrix, width: int) -> Iterator[Text]:
    """Blocks of columns, each with the cells' names before it; the first also with the fronts."""
    room = int(width * NAMES_SHARE)
    names = [clipped(row.name, room) for row in model.rows]
    longest = max(map(len, names))
    columns = [(FRONTS, [marks(model, index) for index in range(len(names))], False)]
    columns += [(column.title, _cells(model, column), True) for column in model.columns]
    for block in _blocks(columns, width - longest):
        yield Text("")
        yield Text(f"{'':<{longest}}" + "".join(_aligned(title, _wide(one), right) for one in block for title, _, right in [one]))
        for index, name in enumerate(names):
            line = f"{name:<{longest}}" + "".join(
                _aligned(cells[index], _wide(one), right) for one in block for _, cells, right in [one]
            )
            yield Text(line.rstrip(), style=_style(model, index))


def _cells(model: ModelMatrix, column: Column) -> list[str]:
    """Value and ratio of every row, each aligned below the other rows'."""
    values = [row.values.get(column.key) for row in model.rows]
    texts = [_short(value.text) if value else "" for value in values]
    ratios = [value.against(column) if value and value.ratio is not None else "" for value in values]
    left, right = (max(map(len, part)) for part in (texts, ratios))
    return [f"{text:>{left}}" + (f" {ratio:>{right}}" if right else "") for text, ratio in zip(texts, ratios, strict=True)]


def _blocks(columns: Sequence[tuple[str, list[str], bool]], room: int) -> Iterator[list[tuple[str, list[str], bool]]]:
    block: list[tuple[str, list[str], bool]] = []
    for column in columns:
        if block and sum(map(_wide, [*block, column])) > room:
            yield block
            block = []
        block.append(column)
    yield block


def _wide(column: tuple[str, list[str], bool]) -> int:
    title, cells, _ = column
    return GAP + max(len(title), *map(len, cells))


def _aligned(text: str, width: int, right: bool) -> str:
    return f"{text:>{width}}" if right else " " * GAP + f"{text:<{width - GAP}}"


def _short(text: str) -> str:
    for unit, short in UNITS.items():
        text = text.removesuffix(unit) + short if text.endswith(unit) else text
    return text


def _style(model: ModelMatrix, index: int) -> str:
    if index == model.parent:
        return "bold"
    return "dim" if DROP in marks(model, index) else ""


def _say(console: Console, texts: Iterable[str], style: str) -> None:
    """Each text wrapped to the width, its further lines indented."""
    for text in texts:
        for number, line in enumerate(wrapped(text, console.width - GAP, 0)):
            emit(console, Text(" " * (GAP if number else 0) + line.plain, style=style))
