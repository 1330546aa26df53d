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


def test_open_metrics_are_read_by_their_own_parser(runs: list[StoredRun]) -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="run: pip install 'pytest-lmbench[load]'")
    families = {one.name: one for one in parser.text_string_to_metric_families(exports.as_open_metrics(rows(runs)))}
    assert set(families) == {"lmbench_latency_p50_s", "lmbench_peak_rss_bytes"}
    (sample,) = families["lmbench_latency_p50_s"].samples
    assert sample.value == 0.25
    assert sample.labels["model"] == "gpt"


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
