"""The verdicts for machines and for a pull request: verdicts.json and comment.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from lmbench.base.units import pretty, pretty_change
from lmbench.compare.gate import counts, summary
from lmbench.compare.verdicts import ACCEPTED, IMPROVED, OK, Verdict, by_case, case_outcome
from lmbench.report.budget_facts import budget_of, budget_remarks
from lmbench.report.gate_facts import GateFacts, facts_of
from lmbench.report.markdown import escape
from lmbench.report.scope import scope_of
from lmbench.store.runs import StoredRun

VERDICTS_VERSION = 1
"""Schema history of verdicts.json: 1, first version."""
COMMENT_LIMIT = 60_000
"""GitHub refuses comments of more than 65,536 characters; here bytes, which are no fewer."""
ENDING_BYTES = 80
"""Room for the words on what is left out."""
QUIET = (OK, IMPROVED, ACCEPTED)


def verdicts_json(run: StoredRun, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Every verdict with its evidence, the outcome of every case, the tally, the gate's facts (null without a gate), and
    how much was left out (`partial`, null for a whole run)."""
    facts, scope, budget = facts_of(run.info), scope_of(run), budget_of(run.info)
    return {
        "schema_version": VERDICTS_VERSION,
        "run": run.id,
        "started_at": run.info.get("started_at"),
        "machine_class": run.machine_class,
        "complete": run.complete,
        "partial": scope.to_json() if scope.partial else None,
        "budget": budget.to_json() if budget else None,
        "gate": facts.to_json() if facts else None,
        "counts": counts(verdicts),
        "cases": {node_id: case_outcome(found) for node_id, found in by_case(verdicts).items()},
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "skipped": [{"node_id": skip.node_id, "reason": skip.reason} for skip in run.skipped],
    }


def marker(run: StoredRun) -> str:
    """The first line of the comment, by which a job finds its earlier one: '<!-- lmbench-gate: packages/one -->'.

    It names the package, so that the gates of several packages keep a comment each in one pull request. The name can
    neither end the HTML comment nor break the line.
    """
    package = str(run.info.get("package") or ".").encode(errors="surrogateescape")
    name = quote(package, safe="/ ").replace("--", "-%2D")
    return f"<!-- lmbench-gate: {name} -->"


def render_comment(run: StoredRun, verdicts: Sequence[Verdict], facts: GateFacts) -> str:
    """A pull-request comment: the headline, what is not simply ok, and everything else folded; never above COMMENT_LIMIT."""
    return fitting([marker(run), *decision(run, verdicts, facts.headline(summary(verdicts)))], COMMENT_LIMIT)


def decision(run: StoredRun, verdicts: Sequence[Verdict], headline: str) -> list[str]:
    """Lines of Markdown: the headline, how much it covers, what is not simply ok, everything else folded."""
    package, facts = str(run.info.get("package") or "."), facts_of(run.info)
    name = f"{escape(package)}: " if package != "." else ""
    lines = [f"### {name}{escape(headline)}", ""]
    said = [scope_of(run).sentence, *budget_remarks(run.info), *(facts.remarks() if facts else ())]
    lines += [f"> {escape(remark)}\n" for remark in filter(None, said)]
    loud, quiet = _split(verdicts)
    lines += [*_table(loud, paired=facts is not None), ""] if loud else ["Nothing regressed.", ""] if quiet else []
    if quiet:
        lines += [
            f"<details><summary>{len(quiet)} more metrics</summary>",
            "",
            *_table(quiet, paired=facts is not None),
            "",
            "</details>",
        ]
    return lines


def _split(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], list[Verdict]]:
    """What decides and is not simply good, and what was paired or is worth a look beside it."""
    loud = [one for one in verdicts if one.outcome not in (OK, IMPROVED) and (one.metric is None or one.limit is not None)]
    quiet = [one for one in verdicts if one not in loud and (one.evidence is not None or one.outcome != OK)]
    return loud, quiet


def _table(verdicts: Sequence[Verdict], *, paired: bool) -> Iterator[str]:
    names = ("base", "head", "change", "pairs") if paired else ("baseline", "now", "change", "runs")
    yield f"| case | metric | {' | '.join(names)} | verdict |"
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
            str(evidence.pairs) if evidence else "-" if paired else str(one.n_baselines),
            f"{one.outcome}: {one.why}" if _needs_why(one) else one.outcome,
        )
        yield "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _needs_why(one: Verdict) -> bool:
    """Whether the interval beside the outcome does not say it all."""
    if one.outcome == ACCEPTED or one.cut_short:
        return True
    return one.outcome != OK and one.evidence is None


def fitting(lines: Sequence[str], limit: int) -> str:
    """As many whole lines as fit into `limit` bytes of UTF-8; what is left out is said, and what is open is closed."""
    whole = "\n".join(lines) + "\n"
    if len(whole.encode(errors="replace")) <= limit:
        return whole
    kept: list[str] = []
    size = ENDING_BYTES
    for line in lines:
        size += len(line.encode(errors="replace")) + 1
        if size > limit:
            break
        kept.append(line)
    opened = sum(line.startswith("<details>") for line in kept) - kept.count("</details>")
    closing = ["", "</details>"] * opened
    return "\n".join([*kept, *closing, "", f"{len(lines) - len(kept)} more lines are in the job's reports."]) + "\n"
