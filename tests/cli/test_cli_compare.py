"""`lmbench compare`: two stored runs judged without measuring, with the exit statuses of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lmbench.cli.main import cli
from lmbench.compare.gate import NOT_DECIDED_STATUS
from lmbench.record.record import Record
from lmbench.store.files import REJECTED
from tests.report.synthetic import MACHINE_ID, case, failed, record, run_json, with_values

NODE = case().node_id
OTHER = case(name="other")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keep(here: Path, number: int, records: Sequence[Record], *, rejected: bool = False, day: int = 0, **run: object) -> Path:
    folder = here / ".benchmarks" / (REJECTED if rejected else "") / MACHINE_ID
    folder.mkdir(parents=True, exist_ok=True)
    data = run_json(records, run_id=f"run-{number}-{rejected}")
    data["lmbench"]["run"] |= {"started_at": f"2026-01-{day or number:02d}T00:00:00+00:00", **run}
    path = folder / f"{number:04d}_run{number}.json"
    path.write_text(json.dumps(data))
    return path


def plain(path: Path, tests: Mapping[str, float], count: int = 2) -> Path:
    benchmarks = [{"name": name, "fullname": f"test_w.py::{name}", "stats": {"median": value}} for name, value in tests.items()]
    info = {"machine": "x86_64", "cpu": {"brand_raw": "Example", "count": count, "hz_actual": [1, 0]}}
    path.write_text(json.dumps({"benchmarks": benchmarks, "machine_info": info, "datetime": "2026-01-02T00:00:00"}))
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments])


def test_the_second_run_is_judged_against_the_first(here: Path) -> None:
    keep(here, 1, [record(), record(case=OTHER)])
    keep(here, 2, [record(scale=1.02), record(case=OTHER)])
    keep(here, 1, [record(scale=3.0), record(case=OTHER)], rejected=True, day=3)
    slow = run("last~1", "last")
    assert slow.exit_code == 1, slow.output
    assert "2 cases: 1 regressed, 1 ok" in slow.output
    assert ".benchmarks/rejected" in slow.output.splitlines()[2], "a run that was kept apart is the newest"
    assert run("1", "last").exit_code == 2, "two runs have this number"
    assert run("0001_run1", "2").exit_code == 2
    paths = [str(path.relative_to(here)) for path in sorted(here.rglob("0*.json"))]
    assert run(paths[0], "0002_").exit_code == 0
    swapped = run("last", "last~1")
    assert (swapped.exit_code, "are the two arguments swapped?" in swapped.output) == (0, True)
    assert "the same run" in run("last", paths[-1]).output


def test_filters_narrow_what_is_judged_and_what_is_shown(here: Path) -> None:
    keep(here, 1, [record(), record(case=OTHER)])
    keep(here, 2, [record(scale=3.0), record(case=OTHER)])
    one = run("1", "2", "--case", "other")
    assert (one.exit_code, "first-token" in one.output) == (0, False), one.output
    assert run("1", "2", "--case", "*::first-token[*]").exit_code == 1
    assert run("1", "2", "--metric", "weights_bytes").exit_code == 0
    assert run("1", "2", "--metric", "ttft_p50_s").exit_code == 1
    unknown = run("1", "2", "--metric", "ttft_p50")
    assert (unknown.exit_code, "Did you mean" in unknown.output) == (2, True)
    nothing = run("1", "2", "--case", "nobody")
    assert (nothing.exit_code, NODE in nothing.output) == (2, True)


def test_json_holds_every_verdict_and_the_status(here: Path) -> None:
    keep(here, 1, [record()])
    keep(here, 2, [failed("WorkerError", "killed")], complete=False)
    result = run("1", "2", "--json")
    data = json.loads(result.stdout)
    assert result.exit_code == data["exit_status"] == 1
    assert data["counts"] == {"error": 1}
    assert [(one["node_id"], one["outcome"]) for one in data["verdicts"]] == [(NODE, "error")]
    assert data["judged"]["path"].endswith("0002_run2.json")
    assert any("was interrupted" in note for note in data["notes"])


def test_what_cannot_be_compared_is_status_8_and_never_ok(here: Path) -> None:
    keep(here, 1, [record()])
    keep(here, 2, [record(machine_class="another")])
    keep(here, 3, [record(case=OTHER)])
    keep(here, 4, [record(mode="once")])
    keep(here, 5, [failed()])
    keep(here, 6, [])
    for pair, word in ((("1", "2"), "incomparable"), (("1", "3"), "missing"), (("1", "4"), ""), (("1", "6"), "")):
        result = run(*pair)
        assert (result.exit_code, word in result.output) == (NOT_DECIDED_STATUS, True), result.output
        assert "nothing was compared" in result.output
    broken = run("5", "1")
    assert (broken.exit_code, "the case failed in the baseline" in " ".join(broken.output.split())) == (8, True), broken.output
    assert run("1", "5").exit_code == 1


def test_a_case_that_one_side_skipped_or_lacks_is_named(here: Path) -> None:
    mine = [record(case=case(name=name)) for name in ("a", "b")]
    elsewhere = record(case=case(name="c", suite="suites/other.suite.yaml"))
    keep(here, 1, [*mine, elsewhere])
    keep(here, 2, [mine[0], record(case=case(name="d"))])
    result = run("1", "2", "--json")
    data = json.loads(result.stdout)
    assert result.exit_code == 0
    outcomes = {one["node_id"].partition("::")[2].partition("[")[0]: one["outcome"] for one in data["verdicts"]}
    assert (outcomes["b"], outcomes["d"]) == ("missing", "new")
    assert "c" not in outcomes
    assert "not run by the judged run: suites/other.suite.yaml" in data["notes"]


def test_plain_tests_are_judged_by_the_tripwire(here: Path) -> None:
    before = plain(here / "before.json", {"a": 1e-3, "b": 1e-3, "c": 1e-3, "gone": 1.0})
    after = plain(here / "after.json", {"a": 1.1e-3, "b": 2.5e-3, "c": 0.3e-3, "new": 1.0})
    result = run(str(before), str(after), "--json")
    outcomes = {one["node_id"].partition("::")[2]: one["outcome"] for one in json.loads(result.stdout)["verdicts"]}
    assert outcomes == {"a": "inconclusive", "b": "regressed", "c": "improved", "gone": "missing", "new": "new"}
    assert result.exit_code == 1
    assert "test_w.py" in run(str(before), str(after)).output
    other = plain(here / "other.json", {"a": 1e-3}, count=64)
    apart = run(str(before), str(other), "--case", "::a")
    assert (apart.exit_code, "cpu count 2 -> 64" in " ".join(apart.output.split())) == (8, True), apart.output


def test_a_damaged_file_does_not_count_for_last_and_is_an_error_when_named(here: Path) -> None:
    keep(here, 1, [record()])
    keep(here, 2, [with_values(record(), ttft_p50_s=None)])
    torn = keep(here, 3, [])
    torn.write_text('{"benchmarks": [')
    result = run("last~1", "last")
    assert result.exit_code == 0, result.output
    assert "left out" in result.stderr and "0003_run3.json" in result.stderr
    named = run("1", "3")
    assert (named.exit_code, "0003_run3.json: found what is not JSON" in named.output) == (2, True)
    assert run("last~7", "last").exit_code == 2


def test_a_renamed_case_or_test_keeps_its_history(here: Path) -> None:
    (here / "baselines").mkdir()
    (here / "baselines" / "renames.yaml").write_text(f'"{OTHER.node_id}": "{NODE}"\ntest_w.py::a: test_w.py::b\n')
    keep(here, 1, [record(case=OTHER)])
    keep(here, 2, [record()])
    for order in (("1", "2"), ("2", "1")):
        result = run(*order, "--json")
        found = json.loads(result.stdout)["verdicts"]
        assert (result.exit_code, {one["outcome"] for one in found}) == (0, {"ok"}), result.output
        assert all("; renamed, the stored runs have it as " in one["why"] for one in found)
    before, after = plain(here / "before.json", {"a": 1e-3}), plain(here / "after.json", {"b": 1e-3})
    assert run(str(before), str(after)).exit_code == 0
    (here / "baselines" / "renames.yaml").unlink()
    assert run("1", "2").exit_code == NOT_DECIDED_STATUS
    keep(here, 3, [record()], renames={OTHER.node_id: NODE})
    assert run("1", "3").exit_code == 0, "the session that knew `was:` keeps it in its run"
    site = CliRunner().invoke(cli, ["site"])
    assert "3 runs, 1 cases" in site.output


def test_what_contended_runs_cannot_decide_is_said(here: Path) -> None:
    busy = {"contention": {"share": 0.96, "source": "pressure", "others": 0.5}}
    keep(here, 1, [record()])
    keep(here, 2, [record(scale=3.0, resources=busy)])
    result = run("1", "2")
    assert (result.exit_code, "tasks waited for a CPU 96% of the measured time" in result.output) == (0, True), result.output
