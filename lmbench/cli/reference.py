"""Reference tables made from the code: every metric, every key of a suite file; the docs hold exactly this text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lmbench.base.catalogue import METRICS
from lmbench.base.entry import Entry
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, WORKLOADS
from lmbench.base.units import pretty
from lmbench.cli.output import say
from lmbench.suite.params import Budget, Slo
from lmbench.suite.schemas import WORKLOAD_PARAMS, schema
from lmbench.suite.spec import CaseCommon, Cell, Marked, Matrix, Selector, SuiteSpec


@click.command()
def metrics() -> None:
    """Print every metric: unit, direction, how it is gated, meaning (Markdown)."""
    say(metrics_table())


@click.command()
def keys() -> None:
    """Print every key of a suite file with type, default and meaning (Markdown)."""
    say(keys_tables())


def metrics_table() -> str:
    """All metrics as one Markdown table."""
    rows = [
        (f"`{name}`", spec.unit, spec.better or "-", spec.kind, _gate(spec.tolerance, spec.floor, spec.unit), spec.about)
        for name, spec in METRICS.items()
    ]
    return _table(("metric", "unit", "better", "kind", "default tolerance", "meaning"), rows)


def keys_tables() -> str:
    """Every block of a suite file as a Markdown section."""
    sections = [
        _section("A suite file", SuiteSpec),
        _section("`matrix`", Matrix),
        _section("An entry of `matrix.exclude`", Selector),
        _section("An entry of `matrix.include`", Cell),
        _section("An entry of `matrix.mark`", Marked),
        _section("Every case", CaseCommon),
        *(_section(f"Workload `{name}`: {WORKLOADS[name].about}", params) for name, params in WORKLOAD_PARAMS.items()),
        _section("`budget`", Budget),
        _section("`slo`", Slo),
        *_axis("Model family", MODELS),
        *_axis("Backend", BACKENDS),
        *_axis("Compression", COMPRESSIONS),
    ]
    return "\n\n".join(sections)


def _axis(title: str, entries: Mapping[str, Entry]) -> Iterable[str]:
    for name, entry in entries.items():
        heading = f"{title} `{name}`: {entry.about}"
        options = schema(entry)
        yield _section(heading, options) if options else f"### {heading}\n\n{_free(entry)}"


def _free(entry: Entry) -> str:
    return f"Its options are the keyword arguments of your own function (see `{entry.target}`)."


def _section(title: str, fields: type[BaseModel]) -> str:
    types = fields.model_json_schema()["properties"] if fields.model_fields else {}
    rows = [
        (f"`{name}`", _type(types[name]), _default(field.get_default(call_default_factory=True)), field.description or "")
        for name, field in fields.model_fields.items()
    ]
    return f"### {title}\n\n" + (_table(("key", "type", "default", "meaning"), rows) if rows else "No options.")


def _type(described: dict[str, Any]) -> str:
    """The JSON Schema of a key in a word or two."""
    if "anyOf" in described:
        return _type(next(arm for arm in described["anyOf"] if arm.get("type") != "null"))
    if "enum" in described:
        return " or ".join(map(str, described["enum"]))
    if "$ref" in described or "allOf" in described:  # as earlier versions of pydantic write a reference with a default
        return "mapping"
    if described.get("type") == "array":
        return f"list of {_type(described['items'])}s"
    return {"object": "mapping"}.get(described.get("type", ""), str(described.get("type", "")))


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        changed = value.model_dump(exclude_defaults=True)
        numbers = [f"{key} {number:g}" for key, number in changed.items() if isinstance(number, (int, float))]
        return ", ".join(numbers) or "see below"
    return "" if value is None or value == "" else f"`{value}`"


def _gate(tolerance: float | None, floor: float, unit: str) -> str:
    if tolerance is None:
        return "-"
    return f"{tolerance * 100:g} %" + (f", at least {pretty(floor, unit)}" if floor else "")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
