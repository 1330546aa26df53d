"""The paired gate in real sessions of a small repository: verdicts, exit statuses, what is written; no verdict rests on luck."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmbench.compare.gate import NOT_DECIDED_STATUS

Bench = Callable[..., pytest.RunResult]
WORK = """
done = 0

def work(count):
    global done
    for number in range(count):
        done += 1
    return number

def steps():
    global done
    done += 1
    return done * 1e-6

COUNT = 5000
"""
"""Its clock counts the steps of the work, a microsecond each: what is compared does not depend on the machine's load."""
TESTS = """
import pytest
from engine import COUNT, steps, work

@pytest.mark.benchmark(timer=steps)
def test_changed(benchmark):
    benchmark(work, COUNT)
"""


def git(pytester: pytest.Pytester, *arguments: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=pytester.path, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(bench: Bench, pytester: pytest.Pytester) -> Bench:
    """A repository of one suite and one plain test, committed once; runs pytest there."""
    (pytester.path / "engine.py").write_text(WORK)
    (pytester.path / "test_plain.py").write_text(TESTS)
    toml = pytester.path / "pyproject.toml"
    toml.write_text(toml.read_text().rstrip() + '\npythonpath = ["."]\nlmbench_gate_tolerance = "50%"\n')
    (pytester.path / ".gitignore").write_text("reports/\nbaselines/\n__pycache__/\n")
    git(pytester, "init", "-q", "-b", "main")
    git(pytester, "add", "-A")
    git(pytester, "commit", "-qm", "first")
    return bench


def touched(pytester: pytest.Pytester) -> None:
    """A change that changes nothing: base and head of one commit with a clean tree are not compared."""
    engine = pytester.path / "engine.py"
    engine.write_text(engine.read_text() + "\n")


def words(result: pytest.RunResult) -> str:
    """What was printed, however its lines were broken."""
    return " ".join(result.stdout.str().split())


def verdicts(pytester: pytest.Pytester) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    return data


def test_a_slowdown_fails_its_case_alone_in_every_output(
    repository: Bench, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    edited = WORK.replace("5000", "15000")
    (pytester.path / "engine.py").write_text(edited)
    git(pytester, "commit", "-qam", "three times the work")
    result = repository("--lmbench-gate=HEAD~1", "--junitxml=junit.xml", "--benchmark-autosave", "-o", "lmbench_gate_budget=10m")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*gate against HEAD~1 (*2 of 2 cases to pair; a pair takes about*", "*test_changed@gate - regressed: round_p50_s*"]
    )
    data = verdicts(pytester)
    assert data["cases"]["test_plain.py::test_changed"] == "regressed"
    changed = next(one for one in data["verdicts"] if one["node_id"] == "test_plain.py::test_changed")
    assert changed["ratio"] == pytest.approx(3, rel=0.01) and changed["evidence"]["pairs"] >= 8
    assert data["gate"]["cases_paired"] == 2 and data["gate"]["exit_status"] == 1
    suite = [one for one in data["verdicts"] if one["node_id"].startswith("a.suite.yaml")]
    paired = {one["metric"] for one in suite if one["evidence"]}
    assert {"ttft_p50_s", "tpot_p50_s", "latency_p50_s", "output_tokens_per_s"} <= paired
    steady = {one["metric"]: one["outcome"] for one in suite if not one["evidence"]}
    assert steady["perplexity"] == "ok", "what needs no pairs is compared with one run of the base"
    junit = (pytester.path / "junit.xml").read_text()
    assert 'failures="1"' in junit and "test_changed@gate" in junit
    assert "three" not in git(pytester, "worktree", "list") and git(pytester, "worktree", "list").count("\n") == 0
    (journal,) = (pytester.path / "reports" / "journal").glob("*.jsonl")
    assert journal.read_text().count('"kind":"pair"') >= 16
    comment = (pytester.path / "reports" / "comment.md").read_text()
    assert comment.startswith("<!-- lmbench-gate: . -->\n### gate NOT OK: ") and "regressed" in comment
    assert comment.splitlines()[1] in (pytester.path / "summary.md").read_text().splitlines()
    errors = [line for line in result.outlines if line.startswith("::error ")]
    assert [line.partition("::round")[0] for line in errors] == [
        "::error file=test_plain.py,line=5,title=test_changed%3A regressed"
    ]
    assert not list(pytester.path.glob("baselines/*/Linux*/*.json")), "a run that failed is no baseline"
    assert len(list(pytester.path.glob("baselines/*/rejected/*/*.json"))) == 1


def test_an_accepted_change_passes_with_its_reason(repository: Bench, pytester: pytest.Pytester) -> None:
    (pytester.path / "engine.py").write_text(WORK.replace("5000", "15000"))
    (pytester.path / "baselines").mkdir()
    ledger = "- {case: 'test_plain.py::*', metric: '*', change: 400%, reason: three times as thorough}\n"
    (pytester.path / "baselines" / "changes.yaml").write_text(ledger)
    result = repository("test_plain.py", "--lmbench-gate=HEAD")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*test_changed*accepted*", "*meant: three times as thorough*"])


def test_what_the_base_lacks_or_declares_otherwise_is_said_and_nothing_compared_is_not_decided(
    repository: Bench, pytester: pytest.Pytester
) -> None:
    suite = pytester.path / "a.suite.yaml"
    suite.write_text(suite.read_text().replace("prompt_tokens: 4", "prompt_tokens: 5"))
    (pytester.path / "test_plain.py").write_text(TESTS.replace("test_changed", "test_renamed"))
    result = repository("--lmbench-gate=HEAD")
    assert result.ret == NOT_DECIDED_STATUS
    assert verdicts(pytester)["gate"]["not_decided"].startswith("nothing was compared")
    assert verdicts(pytester)["cases"] == {
        "test_plain.py::test_changed": "missing",
        "test_plain.py::test_renamed": "new",
        "a.suite.yaml::speed[stub-fake-none]": "incomparable",
    }
    result.stdout.fnmatch_lines(["*declared differently in the base*", "*nothing was compared*"])
    strict = repository("--lmbench-gate=HEAD", "--lmbench-fail-on=regressed,error,new", "test_plain.py")
    strict.stdout.fnmatch_lines(["FAILED test_plain.py::test_renamed@gate - new: *"])


def test_a_base_that_does_not_import_leaves_nothing_to_compare(repository: Bench, pytester: pytest.Pytester) -> None:
    (pytester.path / "engine.py").write_text("import no_such_module\n")
    git(pytester, "commit", "-qam", "broken")
    (pytester.path / "engine.py").write_text(WORK)
    result = repository("test_plain.py", "--lmbench-gate=HEAD")
    assert result.ret == NOT_DECIDED_STATUS
    assert verdicts(pytester)["cases"] == {"test_plain.py::test_changed": "incomparable"}
    (one,) = verdicts(pytester)["verdicts"]
    assert one["why"].startswith("the base tree cannot be collected: ") and "no_such_module" in one["why"]


def test_a_stored_comparison_spares_what_is_not_suspect(repository: Bench, pytester: pytest.Pytester) -> None:
    repository("--benchmark-autosave", "test_plain.py", "a.suite.yaml")
    (stored,) = pytester.path.glob("baselines/*/Linux*/*.json")
    data = json.loads(stored.read_text())
    for bench in data["benchmarks"]:
        for name in ("min", "max", "mean", "median"):
            bench["stats"][name] *= 1000
        for metric in (bench["extra_info"].get("lmbench") or {"metrics": {}})["metrics"].values():
            if metric["kind"] in ("time", "rate") and metric["value"]:
                metric["value"] *= 1000 if metric["kind"] == "time" else 1e-3
    stored.write_text(json.dumps(data))
    touched(pytester)
    result = repository("--lmbench-gate=HEAD", "--benchmark-compare", "--lmbench-gate-require=all")
    assert result.ret == pytest.ExitCode.OK, "what stored runs cleared is decided"
    result.stdout.fnmatch_lines(["*0 of 2 cases to pair*", "*0 paired, 2 cleared by stored runs; no pair was needed*"])
    cleared = [one for one in verdicts(pytester)["verdicts"] if one["why"].endswith("not paired")]
    assert {one["node_id"] for one in cleared} == {"test_plain.py::test_changed", "a.suite.yaml::speed[stub-fake-none]"}


def test_memory_is_paired_run_by_run(repository: Bench, pytester: pytest.Pytester) -> None:
    touched(pytester)
    result = repository("a.suite.yaml::size[stub-fake-none]", "--lmbench-gate=HEAD")
    assert result.ret == pytest.ExitCode.OK
    peak = next(one for one in verdicts(pytester)["verdicts"] if one["metric"] == "peak_rss_bytes")
    assert peak["outcome"] == "ok" and peak["evidence"]["unit"] == "pair of whole runs"
    assert 8 <= peak["evidence"]["pairs"] <= 32, "the first look decides, or later ones where the memory of a run scatters"
    others = {one["metric"]: one["outcome"] for one in verdicts(pytester)["verdicts"] if not one["evidence"]}
    assert others["parameters"] == "ok", "sizes are compared once"


def test_a_budget_that_decides_no_time_is_not_ok_in_any_output(repository: Bench, pytester: pytest.Pytester) -> None:
    """The suite's exact metrics are compared all the same: they do not make the gate decided."""
    touched(pytester)
    result = repository("--lmbench-gate=HEAD", "--lmbench-gate-budget=1s", "--junitxml=junit.xml")
    assert result.ret == NOT_DECIDED_STATUS
    said = words(result)
    assert "the budget of 1 s does not cover the 8 pairs of a first look" in said
    assert "not decided: 0 of 2 cases decided; the budget cut 2 short" in said
    result.stdout.fnmatch_lines(["gate NOT DECIDED: *2 inconclusive; 2 paired, 0 cleared by stored runs; no pair was run"])
    assert "stored runs behind the baseline" not in said, "there are none"
    data = verdicts(pytester)
    assert data["gate"]["exit_status"] == NOT_DECIDED_STATUS and data["gate"]["cases_decided"] == 0
    assert set(data["gate"]["cut_short"]) == set(data["cases"]) and set(data["cases"].values()) == {"inconclusive"}
    assert any(one["outcome"] == "ok" and one["metric"] == "perplexity" for one in data["verdicts"])
    junit = (pytester.path / "junit.xml").read_text()
    assert 'name="gate"' in junit and "not decided: 0 of 2 cases decided" in junit
    for name in ("root--a.md", "root--a.html", "comment.md"):
        assert "not decided: 0 of 2 cases decided" in (pytester.path / "reports" / name).read_text(), name
    strict = repository("test_plain.py", "--lmbench-gate=HEAD", "--lmbench-gate-budget=1s", "--lmbench-fail-on=inconclusive")
    assert strict.ret == pytest.ExitCode.TESTS_FAILED, "a failure outranks what is not decided"


def test_one_commit_without_changes_is_nothing_to_compare(repository: Bench, pytester: pytest.Pytester) -> None:
    """A job on pushes to main that compares with main must not be green for ever."""
    (pytester.path / "notes.txt").write_text("an untracked file that no case reads\n")
    result = repository("test_plain.py", "--lmbench-gate=main")
    assert result.ret == NOT_DECIDED_STATUS
    assert "not decided: base and head are the same commit" in words(result) and "--lmbench-gate=HEAD~1" in words(result)
    assert verdicts(pytester)["gate"]["pairs_run"] == 0
    (pytester.path / "conftest.py").write_text("")
    changed = repository("test_plain.py", "--lmbench-gate=main", "--lmbench-gate-budget=1s")
    assert "not decided: 0 of 1 cases decided" in words(changed)


def test_a_session_that_stops_at_a_failure_says_that_no_gate_was_held(repository: Bench, pytester: pytest.Pytester) -> None:
    (pytester.path / "test_broken.py").write_text("def test_broken():\n    raise AssertionError\n")
    result = repository("-x", "test_broken.py", "test_plain.py", "--lmbench-gate=HEAD")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["gate: not held, because the session stopped before its last test"])


def test_another_python_is_compared_on_the_same_code(repository: Bench, pytester: pytest.Pytester) -> None:
    """Also where the configuration turns a plugin off that the workers would keep from spreading."""
    toml = pytester.path / "pyproject.toml"
    toml.write_text(toml.read_text().replace("--strict-markers", "--strict-markers -p no:xdist"))
    result = repository("test_plain.py", f"--lmbench-gate-base-python={sys.executable}", "--lmbench-gate-budget=5m")
    assert result.ret == pytest.ExitCode.OK
    (one,) = verdicts(pytester)["verdicts"]
    assert one["outcome"] in ("ok", "improved", "inconclusive", "regressed") and one["evidence"]["pairs"] >= 8
    assert verdicts(pytester)["gate"]["base"] == f"this tree under {sys.executable}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lmbench-gate=no-such-branch"], "*no-such-branch: found a name that git does not know*fetch*"),
        (["--lmbench-gate=HEAD", "--benchmark-disable"], "*nothing would be measured*"),
        (["--lmbench-gate=HEAD", "--lmbench-fail-on=slow"], "*--lmbench-fail-on: found slow; expected some of regressed*"),
        (["--lmbench-gate=HEAD", "--lmbench-gate-budget=soon"], "*--lmbench-gate-budget: found 'soon'*"),
        (["--lmbench-gate=HEAD", "--lmbench-gate-tolerance=lots"], "*--lmbench-gate-tolerance: found 'lots'*"),
        (["--lmbench-gate=HEAD", "--lmbench-gate-require=most"], "*--lmbench-gate-require: found 'most'*or all*"),
        (["--lmbench-gate=HEAD", "--lmbench-gate-pair=some"], "*lmbench_gate_pair: found 'some'*"),
        (["--lmbench-gate-base-python=/no/python"], "*'/no/python', which cannot be run*"),
        (["--lmbench-gate=pinned"], "*no commit is pinned*lmbench history pin*"),
        (["--lmbench-gate", "a.suite.yaml"], "*took 'a.suite.yaml' as the base. Put the path first*"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(repository: Bench, arguments: list[str], message: str) -> None:
    result = repository(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("option", ["--lmbench-gate=HEAD", "--benchmark-compare"])
def test_processes_that_measure_nothing_cannot_compare(pytester: pytest.Pytester, option: str) -> None:
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "test_plain.py", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*Run without it"])


def test_outside_of_git_the_gate_says_so(bench: Bench, pytester: pytest.Pytester) -> None:
    assert not (Path(pytester.path) / ".git").exists()
    result = bench("--lmbench-gate=main")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*found a rootdir that git does not know*"])
