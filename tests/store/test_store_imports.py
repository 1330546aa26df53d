"""Runs made elsewhere come into the storage: each record once, below its machine class, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import StoreError
from lmbench.measure.measurement import metric
from lmbench.record.record import Record
from lmbench.store.baselines import recent
from lmbench.store.files import IMPORTED, list_all, list_runs
from lmbench.store.history import Pin, append_pin
from lmbench.store.imports import import_runs, record_digest, run_files
from lmbench.store.journal import Journal
from lmbench.store.runs import read_run
from tests.report.synthetic import ENVIRONMENT, MACHINE, MACHINE_ID, case, failed, record, run_json, store

GPU = "h100-8gpu"


def file_of(path: Path, records: Sequence[Record], **options: str) -> Path:
    path.write_text(json.dumps(run_json(records, **options)))  # type: ignore[arg-type]
    return path


def journal_of(path: Path, records: Sequence[Record]) -> Path:
    log = Journal(path)
    log.open({"schema_version": 1, "run": {"id": "j/1 ü"}, "environment": dict(ENVIRONMENT), "machine_class": MACHINE})
    for one in records:
        log.record(one)
    return path


def at(second: int, **changes: str) -> Record:
    return replace(record(), started_at=f"2026-01-01T00:00:{second:02d}+00:00", **changes)  # type: ignore[arg-type]


def held(storage: Path) -> list[str]:
    """Digests of every stored record, with repetitions."""
    return sorted(record_digest(one) for path in run_files(storage) for one in read_run(path).records)


def test_a_run_comes_in_whole_and_says_where_it_came_from(tmp_path: Path) -> None:
    source = file_of(tmp_path / "elsewhere.json", [at(1), failed(case=case("memory"))])
    (done,) = import_runs([source], tmp_path / "baselines")
    assert (done.machine_class, done.added, done.known) == (MACHINE, 2, 0)
    assert done.path is not None and done.path.parent == tmp_path / "baselines" / MACHINE / IMPORTED
    before, after = read_run(source), read_run(done.path)
    assert after.records == before.records
    assert (after.id, after.environment, after.harness, after.skipped) == (
        before.id,
        before.environment,
        before.harness,
        before.skipped,
    )
    assert after.info["imported_from"] == "elsewhere.json"


def test_a_second_import_brings_nothing_and_writes_nothing(tmp_path: Path) -> None:
    source, storage = file_of(tmp_path / "a.json", [at(1), at(2)]), tmp_path / "baselines"
    import_runs([source], storage)
    files = run_files(storage)
    for again in (import_runs([source], storage), import_runs([source, source], storage)):
        assert {(one.path, one.added, one.known) for one in again} == {(None, 0, 2)}
    assert run_files(storage) == files
    (twice, rest) = import_runs([source, source], tmp_path / "other")
    assert (twice.added, rest.added, rest.known) == (2, 0, 2)


def test_only_what_is_new_comes_in_and_nothing_is_overwritten(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    (first,) = import_runs([file_of(tmp_path / "a.json", [at(1)])], storage)
    assert first.path is not None
    bytes_before = first.path.read_bytes()
    (second,) = import_runs([file_of(tmp_path / "b.json", [at(1), at(2)])], storage)
    assert (second.added, second.known) == (1, 1)
    assert second.path is not None and second.path.name.startswith("0002_")
    assert first.path.read_bytes() == bytes_before
    assert len(set(held(storage))) == len(held(storage)) == 2


def test_the_journal_and_the_file_of_one_session_are_the_same_records(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    (done,) = import_runs([journal_of(tmp_path / "j.jsonl", [at(1), at(2)])], storage)
    assert done.path is not None and done.path.name == "0001_j-1.json"
    assert not read_run(done.path).complete, "the journal had no end"
    (again,) = import_runs([file_of(tmp_path / "a.json", [at(1), at(2), at(3)])], storage)
    assert (again.added, again.known) == (1, 2)


def test_records_of_another_machine_go_below_their_own_class(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    mixed = file_of(tmp_path / "a.json", [at(1), at(1, machine_class=GPU)])
    assert [(one.machine_class, one.added) for one in import_runs([mixed], storage)] == [(MACHINE, 1), (GPU, 1)]
    (there,) = run_files(storage / GPU)
    assert read_run(there).machine_class == GPU
    assert [one.machine_class for one in read_run(there).records] == [GPU]


def test_what_was_measured_here_is_known_also_where_it_was_kept_apart(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    store(storage / MACHINE, 1, [at(1)])
    store(storage / MACHINE, 1, [at(2)], rejected=True)
    (done,) = import_runs([file_of(tmp_path / "a.json", [at(1), at(2)])], storage)
    assert (done.added, done.known, done.path) == (0, 2, None)


def test_imports_are_no_baselines(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    store(storage / MACHINE, 1, [at(1)])
    import_runs([file_of(tmp_path / "a.json", [at(2)])], storage)
    assert sorted(file.state for file in list_all(storage / MACHINE)) == ["baseline", "imported"]
    assert [path.parent.name for path in list_runs(storage / MACHINE)] == [MACHINE_ID]
    found = recent(storage / MACHINE, [record().case.node_id], machine_id=MACHINE_ID)
    assert [one.started_at for one in found.of(record().case.node_id)] == [at(1).started_at]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("{}", "no record of lmbench"),
        (json.dumps({**run_json([record()]), "lmbench": {"schema_version": 99}}), "schema version 99.*update lmbench"),
        (
            json.dumps(run_json([record()])).replace(f'"machine_class": "{MACHINE}"', '"machine_class": "../.."'),
            r"no folder's name",
        ),
        (
            json.dumps(run_json([record()])).replace(f'"machine_class": "{MACHINE}"', '"machine_class": 3'),
            "3 as record.machine_class",
        ),
        (json.dumps(run_json([replace(record(), wall_s=4321.5)])).replace("4321.5", "NaN"), "nan as records"),
        (json.dumps(run_json([record()])).replace('"timer_overhead_s": 6.1e-08', '"timer_overhead_s": NaN'), "nan as lmbench"),
    ],
)
def test_a_faulty_file_stops_everything_before_anything_is_written(tmp_path: Path, text: str, words: str) -> None:
    good, bad = file_of(tmp_path / "good.json", [at(1)]), tmp_path / "bad.json"
    bad.write_text(text)
    with pytest.raises(StoreError, match=f"bad.json: .*{words}"):
        import_runs([good, bad], tmp_path / "baselines")
    assert not (tmp_path / "baselines").exists()


def test_a_record_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    data = run_json([record()])
    data["benchmarks"][0]["extra_info"]["lmbench"]["schema_version"] = 99
    (tmp_path / "new.json").write_text(json.dumps(data))
    with pytest.raises(StoreError, match=r"new.json: found a record of schema version 99"):
        import_runs([tmp_path / "new.json"], tmp_path / "baselines")


def test_a_damaged_file_in_the_storage_stops_the_import(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    broken = store(storage / MACHINE, 1, [at(1)])
    broken.write_text("{")
    with pytest.raises(StoreError, match=broken.name):
        import_runs([file_of(tmp_path / "a.json", [at(1)])], storage)


def test_every_stored_run_is_found_and_nothing_else(tmp_path: Path) -> None:
    here = [store(tmp_path / MACHINE, 1, [at(1)]), store(tmp_path / MACHINE, 2, [at(2)], rejected=True)]
    here += [store(tmp_path / GPU, 1, [at(3)]), journal_of(tmp_path / "journal.jsonl", [at(4)])]
    append_pin(tmp_path / "history" / "x.jsonl", Pin(commit="a", at="b"))
    (tmp_path / "notes.json").write_text("{}")
    assert run_files(tmp_path) == sorted(here)
    assert run_files(tmp_path / "nowhere") == []


def test_the_digest_says_what_was_run_where_and_when() -> None:
    one = at(1)
    assert record_digest(one) == record_digest(replace(one, metrics={"latency_p50_s": metric("latency_p50_s", 1.0)}))
    others = [at(2), at(1, machine_class=GPU), at(1, environment="e"), replace(one, case=case(name="other"))]
    assert len({record_digest(other) for other in [one, *others]}) == 5


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 3))
def test_however_records_are_spread_over_files_each_is_stored_once(files: list[list[int]], split: int) -> None:
    with TemporaryDirectory() as folder:
        paths = [file_of(Path(folder) / f"{place}.json", [at(one) for one in some]) for place, some in enumerate(files)]
        storage = Path(folder) / "baselines"
        done = [one for some in (paths[:split], paths[split:]) if some for one in import_runs(some, storage)]
        wanted = {record_digest(at(one)) for some in files for one in some}
        assert held(storage) == sorted(wanted)
        assert sum(one.added for one in done) == len(wanted)
        assert sum(one.added + one.known for one in done) == sum(map(len, files))
