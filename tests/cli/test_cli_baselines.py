"""`lmbench baseline`: what is stored, shown, accepted with a reason, and deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.table import Table

from lmbench.base.errors import StoreError
from lmbench.cli.main import cli
from lmbench.cli.output import print_table
from lmbench.compare.ledger import accept
from lmbench.compare.verdicts import ACCEPTED, OK, REGRESSED, Verdict
from lmbench.store.baselines import recent
from lmbench.store.files import list_all
from lmbench.store.imports import import_runs
from lmbench.store.ledger import LEDGER, read_ledger
from tests.report.synthetic import MACHINE, MACHINE_ID, case, failed, record, run_json, store

NODE = case().node_id


def verdict(metric: str, ratio: float | None, outcome: str = REGRESSED, better: str = "lower") -> Verdict:
    return Verdict(node_id=NODE, metric=metric, outcome=outcome, why=f"why {metric}", ratio=ratio, better=better, limit=1.0)


VERDICTS = [
    verdict("ttft_p50_s", 1.1123),
    verdict("output_tokens_per_s", 0.9, better="higher"),
    verdict("latency_p50_s", 1.01, OK),
]


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "baselines" / "host"


def run(verb: str, storage: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["baseline", verb, *arguments, "--storage", str(storage)])


def reject(storage: Path, verdicts: list[Verdict]) -> Path:
    return store(storage, 1, [record()], rejected=True, verdicts=[one.to_json() for one in verdicts])


def test_the_list_shows_the_newest_and_reads_no_others(storage: Path) -> None:
    for number in range(1, 24):
        store(storage, number, [record()])
    store(storage, 3, [record()]).write_text("not read")
    shown = run("list", storage).output
    assert "0023_run.json" in shown
    assert "0004_run.json" in shown
    assert "0003_run.json" not in shown
    assert "and 3 older runs" in shown
    assert "0022_run.json" not in run("list", storage, "-n", "1").output
    every = run("list", storage, "--all")
    assert (every.exit_code, "0001_run.json" in every.output) == (0, True)
    assert "left out" in every.output and "0003_run.json" in every.output, "all of them are read, the damaged one too"


def test_sixty_columns_leave_nothing_of_a_name_out(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("run", "state", box=None, pad_edge=False)
    table.add_row("0001_" + "a" * 80, "baseline")
    print_table(table, 60)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 60 and "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert shown.replace("state", "").replace("baseline", "").count("a") == 80


def test_a_run_is_shown_by_number_or_path_with_verdicts_and_environment(storage: Path) -> None:
    path = reject(storage, VERDICTS)
    for which in ("1", str(path), str(path.relative_to(Path.cwd()))):
        shown = run("show", storage, which).output
        assert f"{NODE}  regressed" in shown
        assert "regressed: ttft_p50_s: why ttft_p50_s" in shown
        assert "why latency_p50_s" not in shown
        assert "environment cpu.model: Example CPU @ 2.5 GHz" in shown
        assert "(rejected)" in shown


def test_a_number_that_two_runs_have_is_refused_with_both_paths(storage: Path) -> None:
    paths = [reject(storage, VERDICTS), store(storage, 1, [record()])]
    message = str(run("show", storage, "1").exception)
    assert all(str(path) in message for path in paths)
    assert "found 0 stored runs for '7'" in str(run("show", storage, "7").exception)


def test_accepting_writes_every_regression_down_and_moves_the_run(storage: Path) -> None:
    reject(storage, VERDICTS)
    result = run("accept", storage, "1", "--reason", "  safer sampling ")
    assert result.exit_code == 0, result.output
    changes = read_ledger(Path(LEDGER))
    assert [(one.metric, one.reason, one.commit) for one in changes] == [
        ("ttft_p50_s", "safer sampling", "0123abcd"),
        ("output_tokens_per_s", "safer sampling", "0123abcd"),
    ]
    assert [one.change for one in changes] == pytest.approx([0.1123, -0.1])
    assert [file.rejected for file in list_all(storage)] == [False]
    assert [one.outcome for one in accept(VERDICTS, changes)] == [ACCEPTED, ACCEPTED, OK]


def test_what_is_accepted_can_be_narrowed_and_the_rest_is_said(storage: Path) -> None:
    reject(storage, [*VERDICTS, verdict("kl_divergence", None)])
    nothing = run("accept", storage, "1", "--reason", "r", "--metric", "tpot_p50_s")
    assert nothing.exit_code == 2
    assert f"{NODE} ttft_p50_s" in nothing.output
    assert [file.rejected for file in list_all(storage)] == [True]
    assert not Path(LEDGER).exists()
    result = run("accept", storage, "1", "--reason", "r", "--case", NODE, "--metric", "ttft_p50_s", "--metric", "kl_divergence")
    assert [one.metric for one in read_ledger(Path(LEDGER))] == ["ttft_p50_s"]
    assert f"not written down: {NODE} output_tokens_per_s: why output_tokens_per_s" in result.output
    assert f"not written down: {NODE} kl_divergence" in result.output, "it has no ratio"


@pytest.mark.parametrize("reason", [[], ["--reason", "  "]])
def test_nothing_is_accepted_without_a_reason(storage: Path, reason: list[str]) -> None:
    reject(storage, VERDICTS)
    assert run("accept", storage, "1", *reason).exit_code == 2
    assert [file.rejected for file in list_all(storage)] == [True]


def test_a_ledger_that_cannot_be_read_leaves_the_run_where_it_is(storage: Path) -> None:
    reject(storage, VERDICTS)
    Path(LEDGER).parent.mkdir(exist_ok=True)
    Path(LEDGER).write_text("- {case: x}\n")
    assert run("accept", storage, "1", "--reason", "r").exit_code != 0
    assert [file.rejected for file in list_all(storage)] == [True]
    assert Path(LEDGER).read_text() == "- {case: x}\n"


def test_runs_measured_elsewhere_are_shown_as_such_and_not_pruned(storage: Path, tmp_path: Path) -> None:
    here = storage.parent / MACHINE
    store(here, 1, [record()])
    reject(here, VERDICTS)
    for day in (1, 2):
        elsewhere = tmp_path / f"{day}.json"
        elsewhere.write_text(json.dumps(run_json([record(started_at=f"2026-05-0{day}T00:00:00+00:00")])))
        import_runs([elsewhere], storage.parent)
    shown = [line.split()[1] for line in run("list", here).output.splitlines()[1:]]
    assert sorted(shown) == ["baseline", "imported", "imported", "rejected"]
    assert "0 of 1 runs deleted" in run("prune", here, "--keep", "1").output
    assert len(list_all(here)) == 4


def names(storage: Path) -> set[str]:
    return {f"{'rejected/' if file.rejected else ''}{file.machine_id}/{file.number}" for file in list_all(storage)}


def test_pruning_names_what_it_deletes_per_machine_id(storage: Path) -> None:
    for number in (1, 2, 3):
        store(storage, number, [record()])
        store(storage, number, [record()], rejected=True)
    other = storage / "Linux-CPython-3.12-64bit" / "0001_run.json"
    other.parent.mkdir()
    other.write_text("{}")
    before = names(storage)
    dry = run("prune", storage, "--keep", "1", "--dry-run")
    assert dry.output.count("would delete") == 2
    assert names(storage) == before
    done = run("prune", storage, "--keep", "1")
    assert done.output.count("deleted ") == 2
    assert f"deleted {storage / MACHINE_ID / '0001_run.json'}" in done.output
    assert before - names(storage) == {f"{MACHINE_ID}/1", f"{MACHINE_ID}/2"}
    assert run("prune", storage, "--keep", "2", "--rejected").exit_code == 0
    assert f"rejected/{MACHINE_ID}/1" not in names(storage)
    assert f"rejected/{MACHINE_ID}/2" in names(storage)
    assert run("prune", storage, "--keep", "0").exit_code == 2


def test_a_run_without_a_measurement_is_refused(storage: Path) -> None:
    path = store(storage, 1, [failed("WorkerError", "killed by signal 11")], rejected=True)
    result = run("accept", storage, "1", "--reason", "meant")
    assert isinstance(result.exception, StoreError)
    assert "found no measurement" in str(result.exception) and "killed by signal 11" in str(result.exception)
    assert path.exists() and not Path(LEDGER).exists()
    once = store(storage, 2, [record(mode="once")], rejected=True)
    assert isinstance(run("accept", storage, "2", "--reason", "meant").exception, StoreError)
    assert once.exists()


def test_of_a_mixed_run_only_the_measured_cases_become_baselines_and_the_reason_is_kept(storage: Path) -> None:
    good, bad = record(), failed("SubjectError", "no such layer", case=case(name="other"))
    before = store(storage, 1, [record(case=case(name="other"))])
    path = store(storage, 1, [good, bad], rejected=True)
    data = json.loads(path.read_text())
    data["lmbench"]["run"]["rejected_because"] = "1 case regressed or failed"
    path.write_text(json.dumps(data))
    result = run("accept", storage, "1", "--reason", " the layer goes next week ")
    assert result.exit_code == 0, result.output
    assert f"no baseline: {bad.case.node_id}: SubjectError: no such layer" in result.output
    files = list_all(storage)
    assert [(file.number, file.rejected) for file in files] == [(2, False), (1, False)]
    known = recent(storage, [good.case.node_id, bad.case.node_id])
    assert [len(known.of(one.case.node_id)) for one in (good, bad)] == [1, 1]
    assert known.of(bad.case.node_id)[0].status == "ok" and before in known.sources
    shown = run("show", storage, "2").output
    assert "kept apart: 1 case regressed or failed" in shown
    assert f"(was rejected/{MACHINE_ID}/0001_run.json): the layer goes next week" in shown
    assert f"no baseline: {bad.case.node_id}: SubjectError: no such layer" in shown
    assert "accepted: the layer goes next week" in run("list", storage).output
    assert json.loads(files[0].path.read_text())["lmbench"]["failed"], "what failed is still in the file"


def test_plain_tests_of_a_failed_session_can_be_accepted(storage: Path) -> None:
    path = store(storage, 1, [], rejected=True)
    path.write_text(json.dumps({"benchmarks": [{"fullname": "t.py::t", "stats": {"median": 0.1}}]}))
    assert run("accept", storage, str(path), "--reason", "r").exit_code == 0
    assert "accepted: r" in run("list", storage).output


def test_pruning_spares_the_last_measurement_of_a_case_and_what_cannot_be_read(storage: Path) -> None:
    store(storage, 1, [record(), record(case=case(name="other"))])
    torn = store(storage, 2, [record()])
    torn.write_text("{")
    store(storage, 3, [record()])
    store(storage, 4, [failed()])
    done = run("prune", storage, "--keep", "1")
    assert done.exit_code == 0, done.output
    assert f"0003_run.json: it holds the last measurement of {NODE}" in done.output
    assert "0001_run.json: it holds the last measurement of suites/inference.suite.yaml::other" in done.output
    assert "0002_run.json: it cannot be read" in done.output
    assert "0 of 4 runs deleted" in done.output
    store(storage, 5, [record(), record(case=case(name="other"))])
    assert "3 of 5 runs deleted" in run("prune", storage, "--keep", "1").output
    assert {file.number for file in list_all(storage)} == {2, 5}
