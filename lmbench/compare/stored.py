"""Two stored runs: the cases and plain tests of one judged against those of the other, by the rules of a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lmbench.compare.judging import compare_case, compare_missing
from lmbench.compare.plain import compare_test
from lmbench.compare.verdicts import INCOMPARABLE, MISSING, Verdict
from lmbench.record.record import FULL, OK, Record
from lmbench.store.plain import PlainTest
from lmbench.store.runs import StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Everything of one stored run that can be judged."""

    run: StoredRun
    tests: tuple[PlainTest, ...] = ()


def compare_runs(baseline: Side, judged: Side) -> list[Verdict]:
    """Verdicts on every case and plain test of `judged`, and on those of `baseline` that it should have and has not.

    Suites and test files that `judged` did not run are not missed: see `not_run`.
    """
    return [*_cases(baseline.run, judged.run), *_tests(baseline.tests, judged.tests)]


def not_run(baseline: Side, judged: Side) -> list[str]:
    """Suites and test files that only the baseline has measured."""
    before = [*(record.case.suite for record in baseline.run.records if _usable(record)), *map(_file, baseline.tests)]
    now = {*judged.run.suites, *map(_file, judged.tests)}
    return [name for name in dict.fromkeys(before) if name not in now]


def _cases(before: StoredRun, now: StoredRun) -> Iterator[Verdict]:
    old = {record.case.node_id: record for record in before.records}
    for record in now.records:
        stored = old.get(record.case.node_id)
        verdicts = compare_case(record, [stored] if stored is not None and _usable(stored) else ())
        if stored is not None and not _usable(stored) and record.failure is None:
            verdicts = [replace(one, outcome=INCOMPARABLE, why=_unusable(stored)) for one in verdicts]
        yield from verdicts
    expected = [node_id for node_id, record in old.items() if _usable(record)]
    collected = {*now.collected, *(record.case.node_id for record in now.records)}
    skipped = {skip.node_id: skip.reason for skip in now.skipped}
    yield from compare_missing(expected, collected, suites=now.suites, skipped=skipped)


def _tests(before: tuple[PlainTest, ...], now: tuple[PlainTest, ...]) -> Iterator[Verdict]:
    old = {test.node_id: test for test in before}
    for test in now:
        stored = old.get(test.node_id)
        yield compare_test(test, [stored] if stored is not None else ())
    names, files = {test.node_id for test in now}, set(map(_file, now))
    for test in before:
        if test.node_id not in names and _file(test) in files:
            why = "was measured before, and the run that is judged has no such test in this file"
            yield Verdict(node_id=test.node_id, metric=None, outcome=MISSING, why=why)


def _file(test: PlainTest) -> str:
    return test.node_id.partition("::")[0]


def _usable(record: Record) -> bool:
    return record.status == OK and record.mode == FULL


def _unusable(record: Record) -> str:
    if record.failure is not None:
        return f"the case failed in the baseline: {record.failure.kind}: {record.failure.message}"
    return f"the baseline ran the case in mode {record.mode}, which measures nothing"
