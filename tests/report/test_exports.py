"""Stored records in other formats: each read back by a reader of its own, and SQL that cannot reach files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lmbench.base.errors import Unavailable
from lmbench.cli.main import cli
from lmbench.measure.clock import epoch_s
from lmbench.measure.measurement import metric
from lmbench.record.record import Failure
from lmbench.report import exports
from lmbench.store.rows import COLUMNS, newest, rows
from lmbench.store.runs import StoredRun
from tests.capacity.records import record

MLFLOW = "MLflow is not installed; run: pip install 'pytest-lmbench[mlflow]'"
DUCKDB = "DuckDB is not installed; run: pip install 'pytest-lmbench[parquet]'"


@pytest.fixture(scope="module")
def runs() -> list[StoredRun]:
    old = record("latency", "none", {}, {"latency_p50_s": 0.5}, at="2026-01-01T00:00:00+00:00")
    new = record("latency", "none", {}, {"latency_p50_s": 0.25, "peak_rss_bytes": 1e9}, at="2026-02-01T00:00:00+00:00")
    unknown = replace(
        new, metrics={"mfu": metric("mfu", None, reason="no ceilings, 'yet'")}, case=replace(new.case, name="=cmd()")
    )
    failure = Failure(kind="SubjectError", message="broke")
    failed = replace(new, metrics={}, status="error", failure=failure, started_at="2026-02-02T00:00:00+00:00")
    return [
        StoredRun(path=Path("0001_a.json"), number=1, id="one", complete=True, records=(old,)),
        StoredRun(path=Path("0002_b.json"), number=2, id="two", complete=True, records=(new, unknown, failed)),
    ]


def test_every_row_has_the_documented_columns(runs: list[StoredRun]) -> None:
    table = list(rows(runs))
    assert len(table) == 5
    assert all(list(row) == list(COLUMNS) for row in table)
    assert table[-1]["reason"] == "SubjectError: broke"
    assert table[-1]["metric"] is None


def test_csv_and_json_lines_hold_every_row(runs: list[StoredRun]) -> None:
    table = list(rows(runs))
    read = list(csv.DictReader(io.StringIO(exports.as_csv(table))))
    assert [row["value"] for row in read] == ["0.5", "0.25", "1000000000.0", "", ""]
    assert read[3]["case_name"] == "'=cmd()", "a spreadsheet must not run it"
    assert [json.loads(line) for line in exports.as_json_lines(table).splitlines()] == table


def test_the_newest_full_value_of_each_case_counts(runs: list[StoredRun]) -> None:
    found = {(row["case_name"], row["metric"]): row["value"] for row in newest(rows(runs))}
    assert found == {("latency", "latency_p50_s"): 0.25, ("latency", "peak_rss_bytes"): 1e9, ("=cmd()", "mfu"): None}


def test_a_good_value_says_that_its_case_fails_now_and_how_old_it_is(runs: list[StoredRun]) -> None:
    now_s = datetime.fromisoformat("2026-02-03T00:00:00+00:00").timestamp()
    table = [row for row in rows(runs, now_s=now_s) if row["case_name"] == "latency"]
    assert [(row["status"], row["latest"], row["latest_status"], row["age_s"] / 86400) for row in table] == [
        ("ok", False, "error", 33.0),
        ("ok", False, "error", 2.0),
        ("ok", False, "error", 2.0),
        ("error", True, "error", 1.0),
    ]
    once = replace(runs[1].records[-1], mode="once", started_at="2026-03-01T00:00:00+00:00", status="ok", failure=None)
    again = list(rows([*runs, replace(runs[1], records=(once,))]))
    assert (again[-1]["latest"], again[-1]["latest_status"]) == (False, "error"), "a correctness test is no measurement"


def test_a_metric_that_the_newest_good_record_lacks_is_not_exported_as_if_it_had_it(runs: list[StoredRun]) -> None:
    later = record("latency", "none", {}, {"latency_p50_s": 0.75}, at="2026-03-01T00:00:00+00:00")
    found = newest(rows([*runs, replace(runs[0], records=(later,))]))
    assert [(row["metric"], row["value"]) for row in found if row["case_name"] == "latency"] == [("latency_p50_s", 0.75)]


def test_open_metrics_are_read_by_their_own_parser(runs: list[StoredRun]) -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="run: pip install 'pytest-lmbench[load]'")
    families = {one.name: one for one in parser.text_string_to_metric_families(exports.as_open_metrics(rows(runs)))}
    states = {f"lmbench_{name}" for name in exports.STATES}
    assert set(families) == {"lmbench_latency_p50_s", "lmbench_peak_rss_bytes", *states}
    (sample,) = families["lmbench_latency_p50_s"].samples
    assert sample.value == 0.25
    assert sample.labels["model"] == "gpt"
    (failure,) = families["lmbench_case_failure"].samples
    assert (failure.value, failure.labels["error"], failure.labels["case_name"]) == (1.0, "SubjectError", "latency")
    said = {(one.name, one.labels["case_name"]): one.value for name in states for one in families[name].samples}
    assert (said["lmbench_case_ok", "latency"], said["lmbench_case_ok", "=cmd()"]) == (0.0, 1.0)
    good, latest = (datetime.fromisoformat(f"2026-02-0{day}T00:00:00+00:00").timestamp() for day in (1, 2))
    assert said["lmbench_case_good_timestamp_seconds", "latency"] == good
    assert said["lmbench_case_latest_timestamp_seconds", "latency"] == latest
    assert said["lmbench_case_good_age_seconds", "latency"] == pytest.approx(epoch_s() - good, abs=600)


def test_parquet_and_sql(runs: list[StoredRun], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason=DUCKDB)
    exports.write_parquet(rows(runs), tmp_path / "it's.parquet")
    with duckdb.connect() as database:
        read = database.execute("select count(*), max(value) from read_parquet(?)", [str(tmp_path / "it's.parquet")]).fetchall()
    assert read == [(5, 1e9)]
    names, found = exports.query(rows(runs), "select run, value from records where metric = 'latency_p50_s' order by run")
    assert (names, found) == (["run", "value"], [("one", 0.5), ("two", 0.25)])
    with pytest.raises(exports.QueryError, match="its columns: run, run_file"):
        exports.query(rows(runs), "select nothing from records")
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (f"from '{secret}'", f"copy records to '{tmp_path / 'out.csv'}'"):
        with pytest.raises(exports.QueryError):
            exports.query(rows(runs), sql)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("store", ["sqlite", "folder"])
def test_mlflow_gets_each_record_once(runs: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason=MLFLOW)
    if store == "sqlite":
        pytest.importorskip("sqlalchemy", reason=MLFLOW)
        pytest.importorskip("alembic", reason=MLFLOW)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}" if store == "sqlite" else (tmp_path / "mlruns").as_uri()
    quoted = replace(runs[1].records[0], case=replace(runs[1].records[0].case, name="it's `quoted`"))
    held = [runs[0], replace(runs[1], records=(*runs[1].records, quoted))]
    assert exports.to_mlflow(rows(held), uri) == (5, uri)
    assert exports.to_mlflow(rows(held), uri) == (0, uri)
    client = mlflow.tracking.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("suites/plan.suite.yaml")
    logged = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics.get("latency_p50_s", 0) for run in logged) == [0, 0, 0.25, 0.25, 0.5]
    assert sorted(run.info.status for run in logged) == ["FAILED", *["FINISHED"] * 4]
    assert {run.data.params["model"] for run in logged} == {"gpt"}
    first = datetime.fromisoformat("2026-01-01T00:00:00+00:00").timestamp() * 1000
    assert min(run.info.start_time for run in logged) == first, "when it was measured, not when it was exported"


@pytest.mark.parametrize("step", ["create_run", "log_batch", "set_terminated"])
def test_an_export_to_mlflow_that_failed_half_way_is_completed(
    runs: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason=MLFLOW)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    client = mlflow.tracking.MlflowClient
    calls: list[str] = []
    whole = getattr(client, step)

    def breaks(self: Any, *given: Any, **named: Any) -> Any:
        calls.append(step)
        if len(calls) == 2:
            raise mlflow.exceptions.MlflowException("the connection is gone")
        return whole(self, *given, **named)

    monkeypatch.setattr(client, step, breaks)
    with pytest.raises(Unavailable, match=r"the connection is gone \(1 records were logged before\); export again"):
        exports.to_mlflow(rows(runs), uri)
    monkeypatch.setattr(client, step, whole)
    assert exports.to_mlflow(rows(runs), uri) == (3, uri)
    assert exports.to_mlflow(rows(runs), uri) == (0, uri)
    held = client(tracking_uri=uri)
    logged = held.search_runs([held.get_experiment_by_name("suites/plan.suite.yaml").experiment_id])
    assert sorted(run.info.status for run in logged) == ["FAILED", *["FINISHED"] * 3]
    assert sorted(len(run.data.metrics) for run in logged) == [0, 0, 1, 2]
    assert all(run.data.params["model"] == "gpt" for run in logged)


def test_a_store_that_mlflow_refuses_is_told_with_the_remedy(runs: list[StoredRun]) -> None:
    pytest.importorskip("mlflow", reason=MLFLOW)
    with pytest.raises(Unavailable, match=r"does not keep runs in nosuch://place.*name a server"):
        exports.to_mlflow(rows(runs), "nosuch://place")


def test_the_commands_read_what_is_stored(tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason=DUCKDB)
    lines = [json.dumps({"kind": "run", "schema_version": 1, "run": {"id": "j"}, "machine_class": "m"})]
    from lmbench.record.codec import to_json

    lines.append(json.dumps({"kind": "record", "record": to_json(record("latency", "none", {}, {"latency_p50_s": 0.125}))}))
    journal = tmp_path / "j.jsonl"
    journal.write_text("\n".join(lines) + "\n")
    run = CliRunner()
    done = run.invoke(cli, ["query", "select value from records", str(journal), "--json"])
    assert json.loads(done.output) == [{"value": 0.125}]
    done = run.invoke(cli, ["export", "csv", str(journal)])
    assert "0.125" in done.output
    done = run.invoke(cli, ["query"])
    assert "case_digest" in done.output
    done = run.invoke(cli, ["export", "csv", "--root", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "no stored run" in done.output
    done = run.invoke(cli, ["export", "parquet", str(journal)])
    assert "--out" in done.output
