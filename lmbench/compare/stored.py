"""Two stored runs: the cases and plain tests of one judged against those of the other, by the rules of a session."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from lmbench.compare.judging import compare_case, compare_missing
from lmbench.compare.plain import compare_test
from lmbench.compare.verdicts import INCOMPARABLE, MISSING, Verdict
from lmbench.record.record import FULL, OK, Record
from lmbench.store.plain import PlainTest
from lmbench.store.renames import NO_RENAMES, Renames
from lmbench.store.runs import StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Everything of one stored run that can be judged."""

    run: StoredRun
    tests: tuple[PlainTest, ...] = ()


def compare_runs(baseline: Side, judged: Side, renames: Renames = NO_RENAMES) -> list[Verdict]:
    """Verdicts on every case and plain test of `judged`, and on those of `baseline` that it should have and has not.

    Suites and test files that `judged` did not run are not missed: see `not_run`. A case that was renamed between the two
    is the same case.
    """
    return [*_cases(baseline.run, judged.run, renames), *_tests(baseline.tests, judged.tests, renames)]


def not_run(baseline: Side, judged: Side, renames: Renames = NO_RENAMES) -> list[str]:
    """Suites and test files that only the baseline has measured."""
    names = [
        *(record.case.node_id for record in baseline.run.records if _usable(record)),
        *(one.node_id for one in baseline.tests),
    ]
    now = {*judged.run.suites, *(_file(one.node_id) for one in judged.tests)}
    files = {_file(name): _file(renames.current(name)) for name in names}
    return [name for name, current in files.items() if name not in now and current not in now]


def _matched(before: Iterable[str], now: Collection[str], renames: Renames) -> dict[str, str]:
    """Node id in `now` -> the one in `before` that is the same case: of the same name, else renamed in either direction."""
    known = list(before)
    found = {name: name for name in known if name in now}
    current = {renames.current(name): name for name in now if name not in found}
    found |= {current[after]: name for name in known if name not in now and (after := renames.current(name)) in current}
    return found


def _cases(before: StoredRun, now: StoredRun, renames: Renames) -> Iterator[Verdict]:
    old = {record.case.node_id: record for record in before.records}
    matched = _matched(old, [record.case.node_id for record in now.records], renames)
    for record in now.records:
        stored = old.get(matched.get(record.case.node_id, ""))
        verdicts = compare_case(record, [stored] if stored is not None and _usable(stored) else ())
        if stored is not None and not _usable(stored) and record.failure is None:
            verdicts = [replace(one, outcome=INCOMPARABLE, why=_unusable(stored)) for one in verdicts]
        yield from verdicts
    expected = [node_id for node_id, record in old.items() if _usable(record) and node_id not in matched.values()]
    collected = {*now.collected, *(record.case.node_id for record in now.records)}
    skipped = {skip.node_id: skip.reason for skip in now.skipped}
    yield from compare_missing(expected, collected, suites=now.suites, skipped=skipped)


def _tests(before: tuple[PlainTest, ...], now: tuple[PlainTest, ...], renames: Renames) -> Iterator[Verdict]:
    old, names = {test.node_id: test for test in before}, [test.node_id for test in now]
    matched = _matched(old, names, renames)
    for test in now:
        stored = old.get(matched.get(test.node_id, ""))
        yield compare_test(test, [stored] if stored is not None else ())
    files = set(map(_file, names))
    for name in old:
        if name not in matched.values() and _file(name) in files:
            why = "was measured before, and the run that is judged has no such test in this file"
            yield Verdict(node_id=name, metric=None, outcome=MISSING, why=why)


def _file(node_id: str) -> str:
    return node_id.partition("::")[0]


def _usable(record: Record) -> bool:
    return record.status == OK and record.mode == FULL


def _unusable(record: Record) -> str:
    if record.failure is not None:
        return f"the case failed in the baseline: {record.failure.kind}: {record.failure.message}"
    return f"the baseline ran the case in mode {record.mode}, which measures nothing"
