"""Stored records in other tools' formats: CSV, JSON lines, Parquet, OpenMetrics, MLflow; and SQL over them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from lmbench.base.catalogue import METRICS
from lmbench.base.digest import digest
from lmbench.base.errors import LmbenchError, Unavailable
from lmbench.base.files import write_atomically
from lmbench.base.scratch import scratch
from lmbench.record.record import OK
from lmbench.store.rows import COLUMNS, Standing, standings

STATES = {
    "case_ok": "1 when the newest full record of the case is good, 0 when it is an error",
    "case_failure": "1 while the newest full record of the case is an error of this kind",
    "case_latest_timestamp_seconds": "when the newest full record of the case began, in seconds since 1970",
    "case_good_timestamp_seconds": "when the record that the values are of began, in seconds since 1970",
    "case_good_age_seconds": "age of the record that the values are of, when this was written",
}
ENDED = ("FINISHED", "FAILED", "KILLED")
LABELS = ("machine_class", "suite", "case_name", "workload", "model", "backend", "compression")
PARAMETERS = ("machine_class", "workload", "model", "backend", "compression", "case_digest", "started_at", "status")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a cell that starts like this: it gets an apostrophe."""

Table = Iterable[Mapping[str, Any]]


class QueryError(LmbenchError):
    """SQL that DuckDB does not accept."""


def as_csv(table: Table) -> str:
    """One line per row, header first."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return stream.getvalue()


def as_json_lines(table: Table) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n" for row in table)


def write_parquet(table: Table, path: Path) -> None:
    """A Parquet file of the table."""
    with scratch("export") as folder:
        part = folder / "table.parquet"
        with _database(table) as database:
            database.execute(f"COPY records TO '{_quoted(part)}' (FORMAT parquet)")
        write_atomically(path, part.read_bytes())


def query(table: Table, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of `sql` over the table `records`; QueryError with DuckDB's words. Files are out of its reach."""
    import duckdb

    with _database(table) as database:
        database.execute("SET enable_external_access = false")
        try:
            found = database.execute(sql)
            return [column[0] for column in found.description or ()], found.fetchall()
        except duckdb.Error as error:
            raise QueryError(f"{error}\nThe table is called records; its columns: {', '.join(COLUMNS)}") from error


def as_open_metrics(table: Table) -> str:
    """The values of every case's newest good record as gauges, for a textfile collector: lmbench_<metric>{suite=..., model=...}.

    Beside them STATES say of each case whether its newest record is good, and how old the values are. A case whose records all
    failed has only these.
    """
    if find_spec("prometheus_client") is None:
        raise Unavailable("OpenMetrics needs prometheus_client", "run: pip install 'pytest-lmbench[load]'")
    from prometheus_client import CollectorRegistry, Gauge
    from prometheus_client.openmetrics.exposition import generate_latest

    registry = CollectorRegistry()
    gauges: dict[str, Any] = {}

    def put(name: str, about: str, row: Mapping[str, Any], value: float, **more: str) -> None:
        if name not in gauges:
            gauges[name] = Gauge(f"lmbench_{name}", about, (*LABELS, *more), registry=registry)
        gauges[name].labels(*(str(row[label]) for label in LABELS), *more.values()).set(value)

    for one in standings(table):
        for row in one.good:
            if row["value"] is not None:
                name = str(row["metric"])
                put(name, f"{METRICS[name].about if name in METRICS else name} ({row['unit']})", row, row["value"])
        _put_state(put, one)
    found: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return found.decode()


def _put_state(put: Callable[..., None], one: Standing) -> None:
    """Whether the case works now, and when its values were measured."""
    works = one.latest["status"] == OK
    put("case_ok", STATES["case_ok"], one.latest, float(works))
    put("case_latest_timestamp_seconds", STATES["case_latest_timestamp_seconds"], one.latest, _epoch_s(one.latest))
    if one.good:
        put("case_good_timestamp_seconds", STATES["case_good_timestamp_seconds"], one.good[0], _epoch_s(one.good[0]))
        age = one.good[0]["age_s"]
        if age is not None:
            put("case_good_age_seconds", STATES["case_good_age_seconds"], one.good[0], age)
    if not works:
        kind = str(one.latest["reason"] or "").partition(":")[0]
        put("case_failure", STATES["case_failure"], one.latest, 1.0, error=kind)


def _epoch_s(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(row["started_at"]).timestamp()


def to_mlflow(table: Table, tracking_uri: str | None = None) -> tuple[int, str]:
    """Log each record as an MLflow run (experiment: its suite; parameters: its axes); how many, and where to.

    Without `tracking_uri` MLflow decides where. Records already there, by run, case and start, are left alone once their MLflow
    run has ended; one that was left running by an export that failed half-way is completed.
    Raises Unavailable without MLflow, and for a place it cannot keep runs in.
    """
    if find_spec("mlflow") is None:
        raise Unavailable("MLflow is not installed", "run: pip install 'pytest-lmbench[mlflow]'")
    import mlflow
    from mlflow.exceptions import MlflowException

    place = tracking_uri or mlflow.get_tracking_uri()
    logged = 0
    try:
        client = mlflow.tracking.MlflowClient(tracking_uri=place)
        for _, group in groupby(table, key=_record_of):
            logged += _log(client, list(group))
    except MlflowException as error:
        remedy = "name a server (https://...) or a database (sqlite:///mlflow.db) with --tracking-uri"
        if logged:
            remedy = "export again: what is complete there is left alone, what is not is completed"
        done = f" ({logged} records were logged before)" if logged else ""
        raise Unavailable(f"MLflow does not keep runs in {place}: {error.message}{done}", remedy) from error
    return logged, place


def _record_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """What the rows of one record share; they follow each other."""
    return row["run"], row["node_id"], row["started_at"]


def _log(client: Any, group: Sequence[Mapping[str, Any]]) -> bool:
    """Log the record these rows are of; False when it is there. A digest marks it: names may hold what a filter cannot.

    An MLflow run of this mark that has not ended was left by an export that failed: it is logged again, which changes nothing
    of what it has, and ended. So a run has ended only when all of it is there.
    """
    from mlflow.entities import Metric, Param

    first = group[0]
    experiment = client.get_experiment_by_name(first["suite"])
    number = experiment.experiment_id if experiment else client.create_experiment(first["suite"])
    mark = digest(list(_record_of(first)))
    there = client.search_runs([number], filter_string=f"tags.`lmbench.record` = '{mark}'", max_results=2)
    if any(one.info.status in ENDED for one in there):
        return False
    began = datetime.fromisoformat(first["started_at"]).timestamp() * 1000
    ended = int(began + first["wall_s"] * 1000)
    tags = {"lmbench.record": mark, "lmbench.run": first["run"]}
    if there:
        run = there[0].info.run_id
    else:
        run = client.create_run(number, start_time=int(began), tags=tags, run_name=first["node_id"]).info.run_id
    known = [row for row in group if row["metric"] is not None and row["value"] is not None]
    client.log_batch(
        run,
        metrics=[Metric(row["metric"], row["value"], timestamp=ended, step=0) for row in known],
        params=[Param(label, str(first[label])) for label in PARAMETERS],
    )
    client.set_terminated(run, "FINISHED" if first["status"] == "ok" else "FAILED", end_time=ended)
    return True


def _database(table: Table) -> Any:
    if find_spec("duckdb") is None:
        raise Unavailable("SQL and Parquet need DuckDB, which is not installed", "run: pip install 'pytest-lmbench[parquet]'")
    import duckdb

    columns = ", ".join(f"'{name}': '{kind}'" for name, (kind, _) in COLUMNS.items())
    database = duckdb.connect()
    with scratch("export") as folder:
        lines = folder / "table.jsonl"
        lines.write_text(as_json_lines(table), encoding="utf-8")
        source = f"read_json('{_quoted(lines)}', format='newline_delimited', columns={{{columns}}})"
        database.execute(f"CREATE TABLE records AS SELECT * FROM {source}")  # noqa: S608 - our own path
    return database


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return "" if value is None else value


def printable(names: Sequence[str], found: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Rows of a query as mappings, what JSON does not know as text."""
    plain = (str, int, float, bool, type(None))
    return [
        {name: value if isinstance(value, plain) else str(value) for name, value in zip(names, row, strict=True)} for row in found
    ]
