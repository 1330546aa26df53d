"""The noun of this room: one suite's part of a run, arranged for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lmbench.base.units import pretty, pretty_change
from lmbench.compare.gate import common_shift, counts, summary
from lmbench.compare.verdicts import OK, Verdict, by_case, case_outcome
from lmbench.measure.measurement import Metric
from lmbench.record.record import Record
from lmbench.report.budget_facts import budget_remarks
from lmbench.report.carried import Carried, carried, to_show
from lmbench.report.gate_facts import facts_of
from lmbench.report.layout import is_main, ordered
from lmbench.report.scope import Scope, file_of, scope_of
from lmbench.report.thread_words import of_case
from lmbench.store.latest import Kept
from lmbench.store.runs import Skip, StoredRun
from lmbench.suite.slugs import slug_of


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
    carried: Carried | None = None
    """Set where the values are those of an earlier run; such a view has no verdict and counts nowhere."""
    last: CaseView | None = None
    """The last values of a case that failed or is missing now, carried from an earlier run."""

    @property
    def id(self) -> str:
        """The case's id without the suite's path."""
        return self.node_id.partition("::")[2] or self.node_id

    @property
    def suite(self) -> str:
        return file_of(self.node_id)


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
    scope: Scope
    cases: tuple[CaseView, ...]
    """Those of this run, then those carried from earlier ones."""
    skipped: tuple[SkipGroup, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Cases by worst outcome, worst first."""
    notes: tuple[str, ...] = ()


def build_reports(
    run: StoredRun, verdicts: Sequence[Verdict], kept: Mapping[str, Mapping[str, Kept]] | None = None
) -> tuple[Report, ...]:
    """One report per suite of the run, in the order of its suites; verdicts and skips find their suite by node id.

    `kept` holds, by suite and node id, what earlier runs measured: it fills in for cases that this run has no values of.
    """
    views = case_views(run.records, verdicts)
    scope = scope_of(run)
    return tuple(
        _report(
            suite, run, scope.of(suite), _with_earlier(suite, run, scope.of(suite), views, (kept or {}).get(suite, {})), verdicts
        )
        for suite in suites_of(run, verdicts)
    )


def suites_of(run: StoredRun, verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """The files that a run has something of, each of which gets a report."""
    others = (*(verdict.node_id for verdict in verdicts), *(skip.node_id for skip in run.skipped))
    return tuple(dict.fromkeys((*run.suites, *map(file_of, others))))


def _with_earlier(
    suite: str, run: StoredRun, scope: Scope, views: Iterable[CaseView], kept: Mapping[str, Kept]
) -> tuple[CaseView, ...]:
    """The suite's views of this run, each without values beside its last ones, then the cases that only earlier runs have."""
    earlier = {name: _earlier(entry, carried(entry, run, scope)) for name, entry in to_show(kept, run, scope).items()}
    now = tuple(replace(view, last=earlier.pop(view.node_id, None)) for view in views if view.suite == suite)
    return (*now, *earlier.values())


def _earlier(entry: Kept, origin: Carried) -> CaseView:
    """A view without verdicts: what was judged then is not judged now."""
    if entry.record is not None:
        return replace(_view(entry.node_id, entry.record, ()), carried=origin)
    judged = [Verdict.from_json(verdict) for verdict in entry.verdicts]
    metrics = {
        one.metric: Metric(name=one.metric, value=one.now, unit=one.unit, better=one.better, kind="time")
        for one in judged
        if one.metric is not None and one.now is not None
    }
    rows = (Row(name=name, metric=value, verdict=None, main=True) for name, value in metrics.items())
    return CaseView(node_id=entry.node_id, record=None, rows=tuple(rows), whole=(), outcome="", carried=origin)


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


def _report(suite: str, run: StoredRun, scope: Scope, views: tuple[CaseView, ...], verdicts: Sequence[Verdict]) -> Report:
    mine = [verdict for verdict in verdicts if file_of(verdict.node_id) == suite]
    gate = facts_of(run.info)
    shift = common_shift(mine) if gate is None else None
    return Report(
        suite=suite,
        slug=slug_of(suite),
        run=run,
        scope=scope,
        cases=views,
        skipped=group_skips(skip for skip in run.skipped if file_of(skip.node_id) == suite),
        counts=counts(mine),
        notes=(
            *_completeness(run, scope, views),
            *budget_remarks(run.info, suite),
            *([gate.headline(summary(verdicts)), *gate.remarks()] if gate else []),
            *([shift] if shift else []),
            *filter(None, [of_case(view.record for view in views if view.record is not None)]),
        ),
    )


def _completeness(run: StoredRun, scope: Scope, views: Sequence[CaseView]) -> list[str]:
    """What a reader must know before anything else: that not all of the suite was measured now."""
    earlier = sum(view.carried is not None for view in views) + sum(view.last is not None for view in views)
    carried_over = (
        f"{earlier} case{'s are' if earlier > 1 else ' is'} shown with values of earlier runs, marked with their age; "
        "they do not count in this run's verdict"
        if earlier
        else ""
    )
    text = "; ".join(filter(None, [scope.sentence, carried_over]))
    if not run.complete and not scope.partial:
        text = "; ".join(filter(None, ["the run was interrupted: what it had not finished is not in this report", carried_over]))
    return [text] if text else []
