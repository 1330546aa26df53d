"""baselines/changes.yaml: changes for the worse that are meant, written by `lmbench baseline accept` or by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lmbench.base.catalogue import METRICS
from lmbench.base.errors import ConfigError, Problem, Unreadable
from lmbench.base.files import exclusive, write_atomically
from lmbench.base.numbers import LARGEST, MOST_CHARS
from lmbench.base.reading import read_text
from lmbench.base.registry import nearest
from lmbench.base.yaml_text import compose, line_of, plain
from lmbench.suite.params import Number

LEDGER = Path("baselines") / "changes.yaml"
ANY = "*"
HEAD = """# Changes for the worse that are meant. The gate reports a regression that an entry explains as 'accepted'.
# case: a node id, or a pattern with * and ?; metric: a name or '*'; change: of the metric's value, '+12%' or '-5%'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry: up to `change` is meant, for cases and metrics that match."""

    case: str
    """A node id, or a pattern with * and ?; brackets are literal."""
    metric: str
    change: float
    """Relative change of the metric's value: +0.12 for a time that grows by 12 %, -0.1 for a rate that falls by 10 %."""
    reason: str
    commit: str = ""
    date: str = ""


def _share(value: Any) -> Any:
    """'+12%' or 0.12; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and len(value) <= MOST_CHARS and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


def _known_metric(name: str) -> str:
    if name != ANY and name not in METRICS:
        raise ValueError(f"a metric that `lmbench metrics` lists, or {ANY!r}. {nearest(name, METRICS)}".strip())
    return name


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    case: Annotated[str, Field(min_length=1)]
    metric: Annotated[str, AfterValidator(_known_metric)] = ANY
    change: Annotated[Number, BeforeValidator(_share), Field(ge=-1, le=LARGEST)]
    reason: Annotated[str, Field(pattern=r"\S")]
    commit: str = ""
    date: Annotated[str, BeforeValidator(str)] = ""


def read_ledger(path: Path) -> tuple[Change, ...]:
    """Every entry; none when there is no file. Raises ConfigError with every fault and its line."""
    return _parse(path, _text(path)) if path.exists() else ()


def append_change(path: Path, change: Change) -> None:
    """Add one entry at the end; what is there stays as it is written.

    Raises ConfigError, and leaves the file alone, when it is not valid or would not be with the entry.
    """
    with exclusive(path.parent):
        write_atomically(path, _with(path, change))


def _with(path: Path, change: Change) -> str:
    """The file's text with one entry more."""
    written = _text(path) if path.exists() else HEAD
    before = _parse(path, written)
    if written and not written.endswith("\n"):
        written += "\n"
    after = written + _written(change, _indent(written))
    try:
        expected = (*before, _parse(path, _written(change, ""))[0])
        fits = _parse(path, after) == expected
    except ConfigError as error:
        raise ConfigError([_unfit(path, "; ".join(problem.found for problem in error.problems))]) from error
    if not fits:
        raise ConfigError([_unfit(path, "a document that ends in something else")])
    return after


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except Unreadable as error:
        raise ConfigError([_problem(path, error.line, "", error.found, error.expected)]) from error


def _parse(path: Path, text: str) -> tuple[Change, ...]:
    try:
        node = compose(text)
        data = None if node is None else plain(node)
    except Unreadable as error:
        raise ConfigError([_problem(path, error.line, "", error.found, error.expected)]) from error
    if data is None:
        return ()
    if not isinstance(data, list) or not isinstance(node, yaml.SequenceNode):
        raise ConfigError([_problem(path, 1, "", type(data).__name__, "a list of changes, each with case, change and reason")])
    return _entries(path, data, [line_of(item) for item in node.value])


def _written(change: Change, indent: str) -> str:
    """One entry as YAML; strings are quoted, so that no commit is read as a number."""
    fields = {
        "case": change.case,
        "metric": change.metric,
        "change": f"{change.change * 100:+.4g}%",
        "reason": change.reason,
        "commit": change.commit,
        "date": change.date,
    }
    lines = [f"{key}: {_quoted(value)}" for key, value in fields.items() if value]
    return f"{indent}- " + f"\n{indent}  ".join(lines) + "\n"


def _quoted(text: str) -> str:
    """`text` on one line in double quotes; what YAML does not allow as it is, is escaped."""
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf)).rstrip("\n")


def _indent(text: str) -> str:
    """The white space before each entry of `text`, which is valid."""
    node = compose(text)
    return " " * node.start_mark.column if isinstance(node, yaml.SequenceNode) and not node.flow_style else ""


def _unfit(path: Path, found: str) -> Problem:
    expected = "a list with one '- case: ...' per entry, to which another can be added at the end"
    return _problem(path, None, "", found, expected)


def _entries(path: Path, data: list[Any], lines: list[int]) -> tuple[Change, ...]:
    changes, problems = [], []
    for number, (item, line) in enumerate(zip(data, lines, strict=True)):
        try:
            changes.append(Change(**_Entry.model_validate(item).model_dump()))
        except ValidationError as error:
            for fault in error.errors():
                key = ".".join([str(number), *(str(part) for part in fault["loc"])])
                problems.append(
                    _problem(path, line, key, repr(fault.get("input"))[:80], fault["msg"].removeprefix("Value error, "))
                )
    if problems:
        raise ConfigError(problems)
    return tuple(changes)


def _problem(path: Path, line: int | None, key: str, found: str, expected: str) -> Problem:
    return Problem(file=str(path), line=line, key=key or "changes", found=found, expected=expected)
