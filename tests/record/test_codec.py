"""Records to JSON and back: nothing is lost, old files stay readable, damage and unknown versions are refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.catalogue import METRICS
from lmbench.base.errors import StoreError
from lmbench.measure.measurement import Metric
from lmbench.plan.case import Case, Choice
from lmbench.record.codec import dumps, from_json, to_json
from lmbench.record.record import SCHEMA_VERSION, Failure, Record

DATA = Path(__file__).parent / "data"

NAME = st.text("abcxyz-_0é|<", min_size=1, max_size=6)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | NUMBER | NAME,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(NAME, JSON, max_size=3)
CHOICE = st.builds(Choice, name=NAME, kind=NAME, options=OBJECT)
CASE = st.builds(
    Case,
    suite=NAME,
    name=NAME,
    workload=NAME,
    params=OBJECT,
    model=CHOICE,
    backend=CHOICE,
    compression=CHOICE,
    corpus=OBJECT,
    seed=st.integers(0, 1000),
    tags=st.lists(NAME, max_size=2).map(tuple),
    gate=st.dictionaries(NAME, NUMBER, max_size=2),
    timeout_s=NUMBER,
)


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Metric]:
    names = draw(st.lists(st.sampled_from(sorted(METRICS)), unique=True, max_size=4))
    table = {}
    for name in names:
        spec, value = METRICS[name], draw(st.none() | NUMBER)
        reason = "" if value is not None else draw(NAME)
        count = draw(st.none() | st.integers(0, 100))
        table[name] = Metric(name=name, value=value, unit=spec.unit, better=spec.better, kind=spec.kind, n=count, reason=reason)
    return table


RECORD = st.builds(
    Record,
    case=CASE,
    status=st.sampled_from(["ok", "error"]),
    started_at=NAME,
    wall_s=NUMBER,
    environment=NAME,
    machine_class=NAME,
    corpus_digest=st.none() | NAME,
    mode=st.sampled_from(["full", "once"]),
    metrics=metrics(),
    series=st.dictionaries(NAME, st.lists(NUMBER, max_size=4).map(tuple), max_size=2),
    primary=st.none() | NAME,
    details=OBJECT,
    subject=OBJECT,
    resources=OBJECT,
    notes=st.lists(NAME, max_size=2).map(tuple),
    failure=st.none() | st.builds(Failure, kind=NAME, message=NAME, traceback=NAME),
)


@settings(max_examples=60, deadline=None)
@given(RECORD)
def test_a_record_survives_json(record: Record) -> None:
    line = dumps(record)
    assert "\n" not in line
    assert from_json(json.loads(line)) == record


@settings(max_examples=30, deadline=None)
@given(RECORD)
def test_the_digest_of_a_case_survives_json(record: Record) -> None:
    again = from_json(json.loads(dumps(record))).case
    assert (again.digest, again.node_id) == (record.case.digest, record.case.node_id)


def stored() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((DATA / "record-schema-1.json").read_text())
    return data


def test_a_record_of_schema_1_is_still_read() -> None:
    record = from_json(stored())
    assert record.schema_version == 1
    assert record.case.node_id == "suites/inference.suite.yaml::first-token[gpt-mini-torch-none]"
    assert record.case.digest == "512611ed473c4678"
    assert record.metrics["ttft_p50_s"].value == pytest.approx(0.0123)
    assert record.metrics["itl_p99_s"].value is None
    assert record.metrics["itl_p99_s"].reason == "4 samples are too few for p99"
    assert record.series["ttft"] == (0.0122, 0.0123, 0.0125, 0.0121)
    assert to_json(record) == stored()


def test_an_unknown_schema_is_refused_with_what_to_do() -> None:
    for version in (0, SCHEMA_VERSION + 1, None, "1"):
        with pytest.raises(StoreError, match="update lmbench"):
            from_json({**stored(), "schema_version": version})


@pytest.mark.parametrize("key", ["case", "metrics", "series", "notes"])
def test_a_record_without_a_part_is_damaged(key: str) -> None:
    data = stored()
    del data[key]
    with pytest.raises(StoreError, match="damaged record"):
        from_json(data)


def test_a_record_with_an_unknown_key_is_damaged() -> None:
    with pytest.raises(StoreError, match="damaged record"):
        from_json({**stored(), "surprise": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32(1.0), {1: 2}, object()])
def test_what_json_cannot_hold_is_refused_by_name(value: object) -> None:
    record = replace(from_json(stored()), details={"deep": [{"odd": value}]})
    with pytest.raises(ValueError, match=r"record\.details\.deep\[0\]\.odd"):
        to_json(record)


def test_series_of_numpy_numbers_become_floats() -> None:
    record = replace(from_json(stored()), series={"step": [float(np.float32(0.5)), np.float64(0.25)]})
    assert to_json(record)["series"] == {"step": [0.5, 0.25]}
