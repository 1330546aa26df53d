"""Threads in a record: read from new and old ones, named where they differ, and a reason against a comparison."""

from __future__ import annotations

from dataclasses import replace

from lmbench.base.threads import resolve
from lmbench.compare.comparability import environment_changes, why_incomparable
from lmbench.compare.judging import compare_case
from lmbench.compare.verdicts import INCOMPARABLE
from lmbench.record.record import Record
from lmbench.record.thread_use import differing, source_of, stated, threads_of
from tests.report.synthetic import record


def on(threads: int, name: str = "a") -> Record:
    made = record()
    use = stated({"threads": threads}, resolve(2, None, {"OMP_NUM_THREADS": str(threads)}))
    return replace(made, subject={**made.subject, "engine": {"engine": name, "threads": threads}, "threads": use})


def test_they_are_read_from_new_and_old_records() -> None:
    assert threads_of(on(3)) == 3
    assert source_of(on(3)) == "OMP_NUM_THREADS=3"
    assert threads_of(record()) == 2, "an older record has what its engine said"
    assert threads_of(replace(record(), subject={})) is None
    old = replace(record("data_parallel"), subject={}, details={"trainer": {"threads": 3, "processes": 2}})
    assert threads_of(old) == 6
    together = stated({"threads": 8}, resolve(8, None, {}), {"threads": 4, "processes": 2})
    assert threads_of(replace(old, subject={"threads": together})) == 8


def test_cells_that_differ_are_named() -> None:
    cells = [("torch", on(1)), ("onnxruntime", on(2)), ("openvino", on(2)), ("endpoint", replace(on(1), subject={}))]
    assert differing(cells) == "1 thread: torch; 2 threads: onnxruntime, openvino"
    assert differing(cells[1:]) == ""


def test_another_number_is_another_experiment() -> None:
    assert why_incomparable(on(2), on(1)) == ("the engine computed with another number of threads: 2 -> 1 (OMP_NUM_THREADS=1)",)
    assert why_incomparable(record(), on(2)) == (), "an older record with the same number"
    assert why_incomparable(replace(record(), subject={}), on(2)) == (), "an older record that does not say"
    (verdict,) = compare_case(on(1), [on(2)])
    assert verdict.outcome == INCOMPARABLE and "another number of threads: 2 -> 1" in verdict.why


def test_variables_that_an_older_run_did_not_record_are_not_changes() -> None:
    old = {"variables": {"OMP_NUM_THREADS": "2"}}
    new = {
        "variables": {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "/lib/libjemalloc.so"},
        "variables_recipe": 2,
        "threads": {"budget": 1},
    }
    first, *rest = environment_changes(old, new)
    assert first == "variables.OMP_NUM_THREADS 2 -> 1"
    assert len(rest) == 1 and "one of the two runs did not record" in rest[0]
    later = {**new, "variables": {"LD_PRELOAD": "/lib/libtcmalloc.so"}}
    assert environment_changes(new, later) == (
        "variables.LD_PRELOAD /lib/libjemalloc.so -> /lib/libtcmalloc.so",
        "variables.OMP_NUM_THREADS 1 -> (absent)",
    )
