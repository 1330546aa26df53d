"""The spread of headline figures: its arithmetic, its table, its place in a page, and whole sessions on the fake model."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmbench.base.registry import WORKLOADS
from lmbench.plan.expand import expand
from lmbench.report.layout import MAIN
from lmbench.store.runs import read_run
from lmbench.suite.load import load
from tests.perf import spread
from tests.perf.spread_figures import (
    CaseFigures,
    Session,
    coefficient_of_variation,
    machine_variation,
    rows_of,
    settled,
    unsteady,
)
from tests.perf.spread_journal import Folder, following, keep, read
from tests.perf.spread_table import END, begin, table_of, with_table

ROOT = Path(__file__).parents[2]
RATES = [110.0, 64.0, 63.0, 111.0, 131.0]
"""Five runs of a ramp whose objective was each run's own median."""
TOKENS = [12.5e3, 12.2e3, 11.3e3, 7.2e3, 11.0e3]
SUITE = """
models:
  stub: {model: fake, vocab_size: 32}
matrix: {model: stub, backend: fake}
cases:
  speed:
    workload: latency
    prompt_tokens: 4
    output_tokens: 3
    budget: {min_rounds: 5, max_rounds: 6, max_time_s: 0.2, min_warmup_rounds: 1, max_warmup_s: 0.2}
"""


def case(name: str, metric: str, value: float | None, *, digest: str = "a", contended: bool = False) -> CaseFigures:
    return CaseFigures(
        node_id=f"quick.suite.yaml::{name}",
        digest=digest,
        values={metric: value},
        units={metric: "requests/s"},
        contended=contended,
    )


def session(number: int, *cases: CaseFigures, load: str = "idle", complete: bool = True) -> Session:
    return Session(
        number=number,
        load=load,
        started_at=f"2026-11-{number:02d}T10:00:00+00:00",
        complete=complete,
        loadavg=0.1 * number,
        machine="epyc-2cpu",
        commit="0123456789abcdef",
        clock_s=1e-7 + 1e-9 * number,
        cases=cases,
    )


def ramps(values: list[float], load: str = "idle", first: int = 1) -> list[Session]:
    return [session(first + at, case("ramp[m]", "max_sustainable_rate", value), load=load) for at, value in enumerate(values)]


def test_the_coefficient_of_variation_is_the_sample_deviation_over_the_mean() -> None:
    assert coefficient_of_variation([1.0, 2.0, 3.0]) == pytest.approx(0.5)
    assert coefficient_of_variation(RATES) == pytest.approx(0.320, abs=5e-4)
    assert coefficient_of_variation(TOKENS) == pytest.approx(0.196, abs=5e-4)
    assert coefficient_of_variation([7.0, 7.0]) == 0.0
    assert coefficient_of_variation([0.0, 0.0]) == 0.0
    assert coefficient_of_variation([-1.0, 1.0]) == math.inf
    assert coefficient_of_variation([7.0]) is None


def test_recorded_runs_that_move_are_found_and_named() -> None:
    sessions = [*ramps(RATES), *ramps([60.0, 61.0], "busy", first=6)]
    (row,) = rows_of(sessions)
    assert row.by_load["idle"].values == tuple(RATES) and row.by_load["busy"].values == (60.0, 61.0)
    assert unsteady([row]) == [row]
    assert unsteady(rows_of(ramps([100.0, 101.0, 99.0, 100.0, 102.0]))) == []
    table = table_of(sessions)
    assert "| ramp[m] | max_sustainable_rate | 110 requests/s | **32.0 %** | 60.5 requests/s | 1.2 % |" in table
    assert "1 of 1 metrics moved by more than 10 % on the idle machine (bold)." in table
    assert "`epyc-2cpu`, 2026-11-01 to 2026-11-07 at commit 0123456789ab" in table
    assert "- idle: 5 runs" in table and "- busy: 2 runs" in table
    assert "load average 0.1 to 0.5 at their start; reading the clock took 101 ns to 105 ns (variation 1.5 %)" in table


def test_a_machine_that_does_not_hold_still_decides_nothing() -> None:
    slower = [replace(one, clock_s=1e-7 * (1 + one.number % 2)) for one in ramps(RATES)]
    assert machine_variation(slower) == pytest.approx(0.34, abs=0.01)
    assert "do not tell whether a case moves or the machine" in table_of(slower)
    assert "hold still" not in table_of(ramps(RATES))
    steady = [replace(one, clock_s=slower[at].clock_s) for at, one in enumerate(ramps([100.0] * 5))]
    assert "All metrics that are known stay within 10 %" in table_of(steady)


def test_idle_values_that_were_disturbed_do_not_count_and_busy_ones_do() -> None:
    disturbed = [session(6, case("ramp[m]", "max_sustainable_rate", 20.0, contended=True))]
    steady = ramps([100.0] * 5)
    (row,) = rows_of([*steady, *disturbed])
    assert row.by_load["idle"].values == (100.0,) * 5 and row.by_load["idle"].disturbed == 1
    assert settled([*steady, *disturbed], "idle") == 5
    assert "left out" in table_of([*steady, *disturbed])
    (row,) = rows_of([replace(one, load="busy") for one in [*steady, *disturbed]])
    assert len(row.by_load["busy"].values) == 6


def test_values_of_another_declaration_machine_or_failed_case_are_not_mixed_in() -> None:
    old = session(1, case("ramp[m]", "max_sustainable_rate", 1.0, digest="before"))
    elsewhere = replace(ramps([2.0], first=2)[0], machine="other-8cpu")
    failed = session(3, replace(case("ramp[m]", "max_sustainable_rate", 3.0), failure="it broke"))
    now = ramps([100.0, 100.0], first=4)
    (row,) = rows_of([old, elsewhere, failed, *now])
    assert row.by_load["idle"].values == (100.0, 100.0)
    assert settled([old, elsewhere, *now], "idle") == 2, "runs before the case was changed are held again"


def test_unknown_values_and_partial_sessions_are_counted_as_what_they_are() -> None:
    cut = replace(ramps([101.0], first=3)[0], complete=False)
    unknown = session(4, case("ramp[m]", "max_sustainable_rate", None))
    sessions = [*ramps([100.0, 100.0]), cut, unknown]
    (row,) = rows_of(sessions)
    assert row.by_load["idle"].values == (100.0, 100.0, 101.0) and row.by_load["idle"].unknown == 1
    assert settled(sessions, "idle") == 3, "a session that was cut short is held again"
    assert "3 runs and 1 cut short" in table_of(sessions)
    (one,) = rows_of(ramps([100.0]))
    assert one.by_load["idle"].variation is None
    assert "Without two idle values" in table_of(ramps([100.0]))
    assert "not known" in table_of(ramps([100.0, 101.0], "busy"))


def test_a_page_keeps_all_but_the_table_of_its_suite() -> None:
    page = f"# Title\n\n{begin('a')}\nold\n{END}\n\nbetween\n\n{begin('b')}\nother\n{END}\n\nafter\n"
    changed = with_table(page, "a", r"new \1")
    assert changed == page.replace("old", r"new \1")
    assert with_table(changed, "a", r"new \1") == changed
    added = with_table(page, "c", "third")
    assert added.replace(f"\n\n{begin('c')}\nthird\n{END}", "") == page
    assert with_table("# Title\n", "a", "new") == f"# Title\n\n{begin('a')}\nnew\n{END}\n"


def test_a_torn_journal_gives_what_is_whole(tmp_path: Path) -> None:
    folder = Folder(root=tmp_path)
    for one in ramps([100.0, 101.0]):
        keep(folder, one)
    keep(folder, replace(session(3), complete=False))
    with folder.journal.open("a") as stream:
        stream.write('{"number": 4, "loa')
    assert [one.number for one in read(folder)] == [1, 2], "a session without any figure has nothing to show"
    assert following(folder) == 4


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite on the fake model and a page; the working folder."""
    for name in ("PYTEST_ADDOPTS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "a.suite.yaml").write_text(SUITE)
    (tmp_path / "page.md").write_text("# Page\n\nText.\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(runs: int, loads: str = "busy") -> list[str]:
    return ["run", "a.suite.yaml", "--runs", str(runs), "--loads", loads, "--out", "out", "--page", "page.md"]


def test_sessions_are_stored_apart_continued_and_kept_when_they_are_cut_short(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "competing", nullcontext)
    folder = Folder(root=place / "out")
    CliRunner().invoke(spread.cli, arguments(1))
    (first,) = read(folder)
    assert first.complete and first.machine and len(first.cases) == 1

    with monkeypatch.context() as patched:
        patched.setattr(spread, "_session", interrupted)
        cut = CliRunner().invoke(spread.cli, arguments(2))
    assert cut.exit_code == 130 and "interrupted: the table is of what there is" in cut.output
    assert read(folder) == [first], "what was measured before stays, and what was never begun is nowhere"

    shown = CliRunner().invoke(spread.cli, arguments(2))
    sessions = read(folder)
    assert [one.number for one in sessions] == [1, 2], "one was missing"
    stored = sorted(folder.storage.rglob("0*.json"))
    assert [read_run(path).records[0].case.name for path in stored] == ["speed", "speed"]
    assert not [name for name in ("baselines", ".benchmarks", "reports") if (place / name).exists()]
    assert "| speed[stub-fake-none] | ttft_p50_s |" in shown.output
    page = (place / "page.md").read_text()
    assert page.startswith("# Page\n\nText.\n") and "- busy: 2 runs" in page
    assert shown.exit_code == 2, "without an idle run it is not known whether the metrics are steady"
    again = CliRunner().invoke(spread.cli, ["table", "a.suite.yaml", "--out", "out"])
    assert again.output in shown.output

    forget_end(folder, 2)
    whole, killed = read(folder)
    assert whole.complete and not killed.complete
    assert killed.cases == sessions[1].cases, "the session's own journal has what it finished"


def interrupted(*_: object) -> Session:
    raise KeyboardInterrupt


def forget_end(folder: Folder, number: int) -> None:
    """Leave both journals as a SIGKILL after the last case would."""
    lines = folder.journal.read_text().splitlines()
    folder.journal.write_text("".join(f"{line}\n" for line in lines[:-1]))
    (journal,) = folder.session(number).rglob("*.jsonl")
    kept = [line for line in journal.read_text().splitlines() if json.loads(line)["kind"] != "end"]
    journal.write_text("".join(f"{line}\n" for line in kept))


def test_an_idle_run_is_refused_on_a_machine_in_use(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_busy_share", lambda _: 0.8)
    monkeypatch.setattr(spread, "PATIENCE_S", 0.0)
    shown = CliRunner().invoke(spread.cli, arguments(1, "idle"))
    assert shown.exit_code == 1
    assert "found 80% of the CPUs in use by other processes; expected less than 5%" in shown.output
    assert not (place / "out").exists(), "nothing was measured"


@pytest.mark.usefixtures("place")
def test_ctrl_c_ends_the_session_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "tests.perf.spread", *arguments(1)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "busy run" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert "interrupted" in errors
    assert process.returncode == 130


@pytest.mark.parametrize("loads", ["", "calm", "idle,busy"])
def test_loads_that_do_not_exist_are_refused(loads: str) -> None:
    shown = CliRunner().invoke(spread.cli, ["run", "--loads", loads])
    assert shown.exit_code == 2 and "expected one or both of idle and busy" in shown.output


def test_the_page_has_the_spread_of_what_decides_each_case_of_the_quick_suite() -> None:
    """A case that is added needs its spread, and one that is taken out leaves no row behind."""
    page = (ROOT / "docs" / "methodology.md").read_text()
    table = page.partition(begin("suites/quick.suite.yaml"))[2].partition(END)[0]
    shown = {tuple(line.removeprefix("| ").split(" | ")[:2]) for line in table.splitlines() if "] | " in line}
    cases = expand(load(ROOT / "suites" / "quick.suite.yaml", ROOT), ROOT)
    main = {(case.id, metric) for case in cases for metric in MAIN[case.workload]}
    deciding = {(case.id, metric) for case in cases for metric in WORKLOADS[case.workload].decided_by}
    assert main & deciding <= shown <= main
