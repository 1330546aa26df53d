"""baselines/changes.yaml: changes for the worse that are meant, written by `lmbench baseline accept` or by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.files import write_atomically

LEDGER = Path("baselines") / "changes.yaml"
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
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    case: Annotated[str, Field(min_length=1)]
    metric: Annotated[str, Field(min_length=1)] = "*"
    change: Annotated[float, BeforeValidator(_share), Field(gt=-1, lt=100, allow_inf_nan=False)]
    reason: Annotated[str, Field(pattern=r"\S")]
    commit: Annotated[str, BeforeValidator(str)] = ""
    date: Annotated[str, BeforeValidator(str)] = ""


def read_ledger(path: Path) -> tuple[Change, ...]:
    """Every entry; none when there is no file. Raises ConfigError with every fault and its line."""
    if not path.exists():
        return ()
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise ConfigError([_problem(path, line, "", f"what is not YAML ({error})", "a list of changes")]) from error
    if data is None:
        return ()
    if not isinstance(data, list) or not isinstance(node, yaml.SequenceNode):
        raise ConfigError([_problem(path, 1, "", type(data).__name__, "a list of changes, each with case, change and reason")])
    return _entries(path, data, [item.start_mark.line + 1 for item in node.value])


def append_change(path: Path, change: Change) -> None:
    """Add one entry at the end; what is there stays as it is written. Raises ConfigError when the file is not valid."""
    before = read_ledger(path)
    written = path.read_text() if path.exists() else HEAD
    if written and not written.endswith("\n"):
        written += "\n"
    fields = {
        "case": change.case,
        "metric": change.metric,
        "change": f"{change.change * 100:+.3g}%",
        "reason": change.reason,
        "commit": change.commit,
        "date": change.date,
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items() if value]
    write_atomically(path, written + "- " + "\n  ".join(lines) + "\n")
    if len(read_ledger(path)) != len(before) + 1:
        write_atomically(path, written)
        raise ConfigError([_problem(path, None, "", "a file no entry can be added to at the end", "a plain list of changes")])


def _entries(path: Path, data: list[Any], lines: list[int]) -> tuple[Change, ...]:
    changes, problems = [], []
    for number, (item, line) in enumerate(zip(data, lines, strict=True)):
        try:
            changes.append(Change(**_Entry.model_validate(item).model_dump()))
        except ValidationError as error:
            for fault in error.errors():
                key = ".".join([str(number), *(str(part) for part in fault["loc"])])
                problems.append(_problem(path, line, key, repr(fault.get("input"))[:80], fault["msg"]))
    if problems:
        raise ConfigError(problems)
    return tuple(changes)


def _problem(path: Path, line: int | None, key: str, found: str, expected: str) -> Problem:
    return Problem(file=str(path), line=line, key=key or "changes", found=found, expected=expected)
