"""Reports of real sessions: no report is replaced by a lesser one, and GitHub Actions gets a summary and annotations."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.conftest import SUITE

Bench = Callable[..., pytest.RunResult]
SPEED, AGAIN = "speed[stub-engine-none]", "again[stub-engine-none]"
ENGINE = "backends: {engine: {backend: fake}}\n"
CASES = ENGINE + SUITE.partition("  size:")[0].replace("backend: fake}", "backend: engine}").lstrip()
"""One case, `speed`; a second one of the same kind is added behind it."""


def rows(folder: Path, name: str, case: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["node_id"].endswith(case)]


@pytest.fixture
def packages(bench: Bench, pytester: pytest.Pytester) -> Bench:
    """Two packages of one repository, each with a suite of one name and two cases."""
    (pytester.path / "a.suite.yaml").unlink()
    again = CASES[CASES.index("  speed:") :].replace("speed:", "again:").replace("prompt_tokens: 4", "prompt_tokens: 5")
    for package in ("one", "two"):
        (pytester.path / package).mkdir()
        (pytester.path / package / "quick.suite.yaml").write_text(CASES + again)
    (pytester.path / ".git").mkdir()  # a repository as far as its root is concerned
    return bench


def test_a_report_is_never_replaced_by_a_lesser_one(
    packages: Bench, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One case of one package, then a failing case of the other, after a whole run of both."""
    reports = pytester.path / "reports"
    packages("--benchmark-autosave").assert_outcomes(passed=4)
    assert {path.stem for path in reports.glob("*.html")} == {"one--quick", "two--quick"}
    untouched = {path: path.read_bytes() for path in reports.glob("two--quick.*")}
    measured = {row["metric"]: row["value"] for row in rows(reports, "one--quick", AGAIN)}
    # What the first session measured comes from its journal: the data beside the report is gone.
    (reports / "data" / "one--quick.json").unlink()
    second = packages("one", "-k", "speed", "--benchmark-compare")
    second.stdout.fnmatch_lines(["1 case: *", "partial run: 1 of 2 cases ran (-k 'speed')*", "report: *one--quick.html"])
    assert {path: path.read_bytes() for path in untouched} == untouched, "the other package's report is its own"
    check_partial(reports, measured)

    suite = pytester.path / "two" / "quick.suite.yaml"
    suite.write_text(suite.read_text().replace("{backend: fake}", "{backend: fake, crash: exception}"))
    before = {row["metric"]: row["value"] for row in rows(reports, "two--quick", SPEED)}
    (reports / "two--quick.md").unlink()
    (reports / "two--quick.md" / "in the way").mkdir(parents=True)
    summary = pytester.path / "summary of the step.md"
    summary.write_text("# of somebody else\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    third = packages("--no-summary", f"two/quick.suite.yaml::{SPEED}")
    assert third.ret == pytest.ExitCode.TESTS_FAILED
    check_failed(reports, before)
    line = 1 + suite.read_text().splitlines().index("  speed:")
    (annotation,) = (text for text in third.outlines if text.startswith("::"))
    assert annotation.startswith(f"::error file={pytester.path.name}/two/quick.suite.yaml,line={line},title={SPEED}%3A error::")
    said = summary.read_text()
    assert said.startswith("# of somebody else\n")
    assert f"### {pytester.path.name}: lmbench NOT OK: 1 case: 1 error" in said
    assert "> partial run: 1 of 2 cases ran (cases named on the command line)" in said and "`two--quick.html`" in said


def check_partial(reports: Path, measured: dict[str, str]) -> None:
    """The reports of the run of one case hold both, and say which is which; verdicts.json counts what ran."""
    kept, now = rows(reports, "one--quick", AGAIN), rows(reports, "one--quick", SPEED)
    assert {row["metric"]: row["value"] for row in kept} == measured
    assert {(row["carried"], row["verdict"]) for row in kept} == {("yes", "")}
    assert all(float(row["age_s"]) >= 0 for row in kept)
    assert {row["carried"] for row in now} == {""} and now[0]["run"] != kept[0]["run"]
    for suffix in (".md", ".html"):
        text = (reports / f"one--quick{suffix}").read_text()
        assert "partial run: 1 of 2 cases ran (-k" in text
        assert f"ot measured by this run: values of run {kept[0]['run']}" in text
    verdicts = json.loads((reports / "verdicts.json").read_text())
    assert set(verdicts["cases"]) == {f"one/quick.suite.yaml::{SPEED}"}
    assert verdicts["partial"]["cases_ran"] == 1 and verdicts["partial"]["cases_declared"] == 2
    assert verdicts["partial"]["not_run"] == [f"one/quick.suite.yaml::{AGAIN}"]


def check_failed(reports: Path, before: dict[str, str]) -> None:
    """The error stands beside the last values, the other case is there, and a report that cannot be written costs no other."""
    now, *last = rows(reports, "two--quick", SPEED)
    assert (now["verdict"], now["carried"]) == ("error", "")
    assert {row["metric"]: row["value"] for row in last} == before and {row["carried"] for row in last} == {"yes"}
    assert "Last measured: values of run " in (reports / "two--quick.html").read_text()
    assert {row["carried"] for row in rows(reports, "two--quick", AGAIN)} == {"yes"}
    assert (reports / "two--quick.md" / "in the way").is_dir()
    newest = max((reports / "journal").glob("*.jsonl"))
    assert '"kind":"end"' in newest.read_text()


def test_a_folder_of_reports_that_cannot_be_costs_no_record(
    bench: Bench, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(pytester.path / "cache"))
    (pytester.path / "reports").write_text("a file of somebody else")
    result = bench("--benchmark-autosave")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["reports: *reports: cannot be written (*); what is measured goes to *cache*.jsonl"])
    assert (pytester.path / "reports").read_text() == "a file of somebody else"
    (journal,) = (pytester.path / "cache" / "journal").glob("*.jsonl")
    assert '"kind":"record"' in journal.read_text() and len(list(pytester.path.glob("baselines/*/*/0001_*.json"))) == 1
