"""The noun of this room: one suite's part of a run, arranged for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lmbench.base.units import pretty, pretty_change
from lmbench.compare.gate import common_shift, counts, summary
from lmbench.compare.verdicts import OK, Verdict, by_case, case_outcome
from lmbench.measure.measurement import Metric
from lmbench.record.record import Record
from lmbench.report.gate_facts import facts_of
from lmbench.report.layout import is_main, ordered
from lmbench.store.runs import Skip, StoredRun

SUITE_SUFFIXES = (".suite.yaml", ".suite.yml", ".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one case: its value now, and the verdict on it if there is one."""

    name: str
    metric: Metric | None
    """None for a metric that only the stored runs have."""
    verdict: Verdict | None
    main: bool

    @property
    def outcome(self) -> str:
        """The verdict's outcome; empty when the metric was not judged."""
        return self.verdict.outcome if self.verdict else ""

    @property
    def unit(self) -> str:
        return self.metric.unit if self.metric else self.verdict.unit if self.verdict else ""

    @property
    def now(self) -> str:
        """The record's value; of a paired metric the base's median x the estimated ratio, as the row's change."""
        if self.verdict and (self.verdict.evidence or self.metric is None):
            return pretty(self.verdict.now, self.unit)
        return pretty(self.metric.value if self.metric else None, self.unit)

    @property
    def baseline(self) -> str:
        return pretty(self.verdict.baseline if self.verdict else None, self.unit)

    @property
    def change(self) -> str:
        return pretty_change(self.verdict.ratio if self.verdict else None)

    @property
    def interval(self) -> str:
        """'[+4.2 %, +6.0 %]', the two-sided 90 % interval of a paired change; empty when there is none."""
        evidence = self.verdict.evidence if self.verdict else None
        return f"[{pretty_change(evidence.low)}, {pretty_change(evidence.high)}]" if evidence and evidence.low else ""

    @property
    def sight(self) -> str:
        """'sees 2.1 %', the smallest slowdown these pairs would have shown, and what CPU time says; empty without pairs."""
        evidence = self.verdict.evidence if self.verdict else None
        if evidence is None or evidence.smallest_visible is None:
            return ""
        return "; ".join(filter(None, [f"sees {evidence.smallest_visible * 100:.1f} %", evidence.explanation]))

    @property
    def medians(self) -> str:
        """'each side's own median: 576 us, 318 us'; empty without pairs. Their quotient is not the estimate."""
        evidence = self.verdict.evidence if self.verdict else None
        if evidence is None or evidence.medians is None:
            return ""
        base, head = (pretty(value, self.unit) for value in evidence.medians)
        return f"each side's own median: {base}, {head}"

    @property
    def limit(self) -> str:
        """The value beyond which the metric is regressed; '-' where it cannot fail."""
        return pretty(self.verdict.limit if self.verdict else None, self.unit)

    @property
    def n_baselines(self) -> str:
        """Stored runs, or pairs, behind the baseline; '-' when the metric was not judged."""
        if self.verdict and self.verdict.evidence:
            return str(self.verdict.evidence.pairs)
        return str(self.verdict.n_baselines) if self.verdict else "-"

    @property
    def samples(self) -> int | None:
        """Samples behind the value now."""
        return self.metric.n if self.metric else None

    @property
    def remark(self) -> str:
        """Why the verdict is not ok, or why the value is not known; empty when there is nothing to add."""
        if self.verdict and (self.verdict.outcome != OK or self.verdict.evidence):
            return self.verdict.why
        return self.metric.reason if self.metric else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """One case: its record (None when it is missing), its rows, what is said of it as a whole."""

    node_id: str
    record: Record | None
    rows: tuple[Row, ...]
    whole: tuple[Verdict, ...]
    """Verdicts that concern the case, not one metric."""
    outcome: str
    """The worst one; empty when nothing was compared."""

    @property
    def id(self) -> str:
        """The case's id without the suite's path."""
        return self.node_id.partition("::")[2] or self.node_id

    @property
    def suite(self) -> str:
        return self.node_id.partition("::")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipGroup:
    """Cases skipped for one reason."""

    reason: str
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One suite of one run."""

    suite: str
    slug: str
    """File name without suffix: 'suites/quick.suite.yaml' -> 'quick'."""
    run: StoredRun
    cases: tuple[CaseView, ...]
    skipped: tuple[SkipGroup, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Cases by worst outcome, worst first."""
    notes: tuple[str, ...] = ()


def build_reports(run: StoredRun, verdicts: Sequence[Verdict]) -> tuple[Report, ...]:
    """One report per suite of the run, in the order of its suites; verdicts and skips find their suite by node id."""
    views = case_views(run.records, verdicts)
    others = (*(view.suite for view in views), *(skip.node_id.partition("::")[0] for skip in run.skipped))
    suites = list(dict.fromkeys((*run.suites, *others)))
    slugs = slugs_of(suites)
    return tuple(_report(suite, slugs[suite], run, views, verdicts) for suite in suites)


def case_views(records: Iterable[Record], verdicts: Iterable[Verdict]) -> tuple[CaseView, ...]:
    """One view per case: those with a record in their order, then those that only verdicts know (missing)."""
    judged = by_case(verdicts)
    known = {record.case.node_id: record for record in records}
    return tuple(_view(node_id, known.get(node_id), judged.get(node_id, ())) for node_id in dict.fromkeys([*known, *judged]))


def group_skips(skipped: Iterable[Skip]) -> tuple[SkipGroup, ...]:
    """Skipped cases by reason, in the order the reasons first came."""
    groups: dict[str, list[str]] = {}
    for skip in skipped:
        groups.setdefault(skip.reason, []).append(skip.node_id)
    return tuple(SkipGroup(reason=reason, node_ids=tuple(found)) for reason, found in groups.items())


def slugs_of(suites: Sequence[str]) -> dict[str, str]:
    """A file name per suite: the file's own where that is unique, its whole path joined by '-' where it is not."""
    stems = {suite: _stem(PurePosixPath(suite).name) for suite in suites}
    taken = list(stems.values())
    return {suite: stem if taken.count(stem) == 1 else _safe(_stem(suite)) for suite, stem in stems.items()}


def _stem(name: str) -> str:
    for suffix in SUITE_SUFFIXES:
        if name.endswith(suffix):
            return _safe(name.removesuffix(suffix))
    return _safe(name)


def _safe(name: str) -> str:
    text = "".join(char if char.isalnum() or char in "._-" else "-" for char in name).strip(".-")
    return text or "suite"


def _view(node_id: str, record: Record | None, verdicts: Sequence[Verdict]) -> CaseView:
    table = {verdict.metric: verdict for verdict in verdicts if verdict.metric is not None}
    metrics = record.metrics if record else {}
    workload = record.case.workload if record else ""
    names = ordered(workload, [*metrics, *table])
    rows = (Row(name=name, metric=metrics.get(name), verdict=table.get(name), main=is_main(workload, name)) for name in names)
    return CaseView(
        node_id=node_id,
        record=record,
        rows=tuple(rows),
        whole=tuple(verdict for verdict in verdicts if verdict.metric is None),
        outcome=case_outcome(verdicts) if verdicts else "",
    )


def _report(suite: str, slug: str, run: StoredRun, views: Sequence[CaseView], verdicts: Sequence[Verdict]) -> Report:
    mine = [verdict for verdict in verdicts if verdict.node_id.partition("::")[0] == suite]
    gate = facts_of(run.info)
    shift = common_shift(mine) if gate is None else None
    notes = [] if run.complete else ["the run was interrupted: cases that were not finished are not in this report"]
    return Report(
        suite=suite,
        slug=slug,
        run=run,
        cases=tuple(view for view in views if view.suite == suite),
        skipped=group_skips(skip for skip in run.skipped if skip.node_id.partition("::")[0] == suite),
        counts=counts(mine),
        notes=(*([gate.headline(summary(verdicts)), *gate.remarks()] if gate else []), *notes, *([shift] if shift else [])),
    )
