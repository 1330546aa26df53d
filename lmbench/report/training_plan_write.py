"""A training plan in a terminal, as Markdown, as JSON and as a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from lmbench.base.files import write_atomically
from lmbench.capacity.training import PlannedOption
from lmbench.report.markdown import escape
from lmbench.report.table_text import markdown, say, show
from lmbench.report.training_plan import TrainingReport, answer, training_table

FILE = "training.md"
SCHEMA_VERSION = 1


def render_training(report: TrainingReport, console: Console) -> None:
    """The answer first, then one table with its notes."""
    say(console, [report.title], "bold")
    say(console, (f"Warning: left out: {text}" for text in report.problems), "yellow")
    lead, *others = answer(report.plans)
    say(console, [lead], "bold green" if report.plans.kept else "bold red")
    say(console, others, "")
    if (table := training_table(report.plans)).rows:
        show(console, table)


def render_training_markdown(report: TrainingReport) -> str:
    """The whole document."""
    lead, *others = answer(report.plans)
    parts = [f"# {escape(report.title)}", ""]
    parts += [line for text in report.problems for line in (f"> **Warning:** left out: {escape(text)}", "")]
    parts += [f"**{escape(lead)}**", "", *(f"- {escape(text)}" for text in others), ""]
    if (table := training_table(report.plans)).rows:
        parts += markdown(table)
    return "\n".join(parts).rstrip() + "\n"


def training_json(report: TrainingReport) -> dict[str, Any]:
    """The plan and its answer. Times in seconds, energies in joules, costs as in the plan file; what is not known is null."""
    return {
        "schema_version": SCHEMA_VERSION,
        "plan_file": report.source,
        "answer": answer(report.plans),
        "request": report.plans.request.model_dump(),
        "meet_the_deadline": [one.name for one in report.plans.kept],
        "options": [_option(one) for one in report.plans.options],
        "stored_runs": report.runs,
        "left_out": list(report.problems),
    }


def write_training(report: TrainingReport, folder: Path) -> Path:
    """Write `<folder>/training.md`; return its path."""
    write_atomically(folder / FILE, render_training_markdown(report))
    return folder / FILE


def _option(one: PlannedOption) -> dict[str, Any]:
    return {"name": one.name, "why_not": one.refused, "plan": None if one.plan is None else asdict(one.plan)}
