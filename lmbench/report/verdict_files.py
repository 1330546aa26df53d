"""The verdicts for machines and for a pull request: verdicts.json and comment.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lmbench.base.units import pretty, pretty_change
from lmbench.compare.gate import counts, summary
from lmbench.compare.verdicts import ACCEPTED, IMPROVED, OK, Verdict, by_case, case_outcome
from lmbench.report.gate_facts import GateFacts, facts_of
from lmbench.report.markdown import escape
from lmbench.store.runs import StoredRun

VERDICTS_VERSION = 1
"""Schema history of verdicts.json: 1, first version."""
MARKER = "<!-- lmbench-gate -->"
"""The first line of the comment: a job that finds it in an earlier comment replaces that one."""
COMMENT_LIMIT = 60_000
"""GitHub refuses comments of more than 65,536 characters."""
QUIET = (OK, IMPROVED, ACCEPTED)


def verdicts_json(run: StoredRun, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Every verdict with its evidence, the outcome of every case, the tally, the gate's facts (null without a gate)."""
    facts = facts_of(run.info)
    return {
        "schema_version": VERDICTS_VERSION,
        "run": run.id,
        "started_at": run.info.get("started_at"),
        "machine_class": run.machine_class,
        "gate": facts.to_json() if facts else None,
        "counts": counts(verdicts),
        "cases": {node_id: case_outcome(found) for node_id, found in by_case(verdicts).items()},
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "skipped": [{"node_id": skip.node_id, "reason": skip.reason} for skip in run.skipped],
    }


def render_comment(verdicts: Sequence[Verdict], facts: GateFacts) -> str:
    """A pull-request comment: the headline, what is not simply ok, and everything else folded; never above COMMENT_LIMIT."""
    lines = [MARKER, f"### {escape(facts.headline(summary(verdicts)))}", ""]
    lines += [f"> {escape(remark)}\n" for remark in facts.remarks()]
    loud, quiet = _split(verdicts)
    lines += [*_table(loud), ""] if loud else ["Nothing regressed.", ""] if quiet else []
    if quiet:
        lines += [f"<details><summary>{len(quiet)} more metrics</summary>", "", *_table(quiet), "", "</details>"]
    return _fitting(lines)


def _split(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], list[Verdict]]:
    """What decides and is not simply good, and what was paired or is worth a look beside it."""
    loud = [one for one in verdicts if one.outcome not in (OK, IMPROVED) and (one.metric is None or one.limit is not None)]
    quiet = [one for one in verdicts if one not in loud and (one.evidence is not None or one.outcome != OK)]
    return loud, quiet


def _table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "| case | metric | base | head | change | pairs | verdict |"
    yield "|---|---|---:|---:|---:|---:|---|"
    for one in verdicts:
        evidence = one.evidence
        interval = f" [{pretty_change(evidence.low)}, {pretty_change(evidence.high)}]" if evidence and evidence.low else ""
        cells = (
            one.node_id.partition("::")[2] or one.node_id,
            one.metric or "",
            pretty(one.baseline, one.unit),
            pretty(one.now, one.unit),
            f"{pretty_change(one.ratio)}{interval}",
            str(evidence.pairs) if evidence else "-",
            f"{one.outcome}: {one.why}" if _needs_why(one) else one.outcome,
        )
        yield "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _needs_why(one: Verdict) -> bool:
    """Whether the interval beside the outcome does not say it all."""
    if one.outcome == ACCEPTED or one.cut_short:
        return True
    return one.outcome != OK and one.evidence is None


def _fitting(lines: Sequence[str]) -> str:
    """As many whole lines as fit; what is left out is said."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > COMMENT_LIMIT:
            return "\n".join([*kept, "", f"{len(lines) - len(kept)} more lines are in the job's reports."]) + "\n"
        kept.append(line)
    return "\n".join(kept) + "\n"
