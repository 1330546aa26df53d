"""Plain benchmark tests under --benchmark-compare: verdicts, exit statuses, and stored files that are broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import QUIET

Run = Callable[..., pytest.RunResult]
TESTS = """
import pytest

@pytest.mark.parametrize("name", ["slow", "fast", "same", "named"])
def test_sum(benchmark, name):
    benchmark(sum, range(300))
"""
BROKEN = {
    "0002_empty.json": "",
    "0003_torn.json": '{"benchmarks": [',
    "0004_foreign.json": '{"machine_info": {}, "results": []}',
    "0005_bare.json": '{"benchmarks": []}',
    "0006_unnamed.json": '{"machine_info": {}, "benchmarks": [{"stats": {}}]}',
}


@pytest.fixture
def plain(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs plain benchmarks in a folder of their own, without any suite."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(test_plain=TESTS)

    def run(*arguments: str) -> pytest.RunResult:
        few = ("--benchmark-max-time=0.01", "--benchmark-min-rounds=3", "--lmbench-max-contention=off")
        return pytester.runpytest_subprocess(*QUIET, *few, *arguments)

    return run


def cases(pytester: pytest.Pytester) -> dict[str, str]:
    """Outcomes by the name of the parameter."""
    data: dict[str, Any] = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    return {name.partition("[")[2].rstrip("]") or name: outcome for name, outcome in data["cases"].items()}


def only_file(pytester: pytest.Pytester) -> Path:
    (path,) = (path for path in pytester.path.glob(".benchmarks/*/0*.json") if path.stem.startswith("0001"))
    return path


def rescale(path: Path, factors: dict[str, float]) -> None:
    """Make stored times better or worse than any machine could be; a test named in no factor is called otherwise."""
    data = json.loads(path.read_text())
    for bench in data["benchmarks"]:
        name = bench["param"]
        if name not in factors:
            bench["fullname"] = "test_plain.py::test_sum[renamed]"
        for key, value in bench["stats"].items():
            if isinstance(value, float):
                bench["stats"][key] = value * factors.get(name, 1.0)
    path.write_text(json.dumps(data))


def test_a_first_run_is_new_and_the_next_one_is_judged(plain: Run, pytester: pytest.Pytester) -> None:
    first = plain("--benchmark-autosave", "--benchmark-compare", "--benchmark-compare-fail=mean:5%")
    assert first.ret == pytest.ExitCode.OK
    first.stdout.fnmatch_lines(["*4 cases: 4 new*"])
    assert "Traceback" not in first.stdout.str() + first.stderr.str()
    rescale(only_file(pytester), {"slow": 1e-4, "fast": 1e4, "same": 1e1})
    for name, text in BROKEN.items():
        (only_file(pytester).parent / name).write_text(text)
    (only_file(pytester).parent / "0007_folder.json").mkdir()
    worse = plain("--benchmark-compare", "--benchmark-autosave")
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    assert cases(pytester) == {"slow": "regressed", "fast": "improved", "same": "improved", "named": "new", "renamed": "missing"}
    worse.stdout.fnmatch_lines(["*beyond * in each of 3 processes, far worse than 1 stored run*", "*5 cases: 1 regressed*"])
    said = worse.stdout.str()
    assert "0007_folder.json: found a folder; expected a stored run" in said and "1 more stored run" in said
    assert len(list(pytester.path.glob(".benchmarks/rejected/*/*.json"))) == 1, "a run that regressed is no baseline"
    assert {path.name for path in (pytester.path / "reports").iterdir()} == {"verdicts.json"}


def test_upstream_s_own_rule_decides_where_it_is_given(plain: Run, pytester: pytest.Pytester) -> None:
    plain("--benchmark-autosave")
    rescale(only_file(pytester), {"slow": 1e-4, "fast": 1e4, "same": 1e1, "named": 1e1})
    lenient = plain("--benchmark-compare", "--benchmark-compare-fail=mean:999999999%", "-k", "slow or fast")
    assert lenient.ret == pytest.ExitCode.OK
    assert cases(pytester) == {"slow": "ok", "fast": "improved"}
    strict = plain("--benchmark-compare", "--benchmark-compare-fail=mean:5%", "--junitxml=junit.xml")
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    assert cases(pytester)["slow"] == "regressed"
    strict.stdout.fnmatch_lines(["*Field 'mean' has failed PercentageRegressionCheck*", "*4 passed*"])
    assert "Traceback" not in strict.stdout.str() + strict.stderr.str()
    assert (pytester.path / "junit.xml").exists()


def test_what_was_not_asked_for_is_not_missing_and_errors_are_errors(plain: Run, pytester: pytest.Pytester) -> None:
    plain("--benchmark-autosave")
    rescale(only_file(pytester), {"slow": 1e4, "fast": 1e4, "same": 1e4})
    plain("test_plain.py::test_sum[slow]", "--benchmark-compare")
    assert cases(pytester) == {"slow": "improved"}
    plain("--benchmark-compare", "-k", "slow")
    assert cases(pytester) == {"slow": "improved", "renamed": "missing"}, "the file was collected whole, and it is gone"
    pytester.makepyfile(test_other="def test_other(benchmark):\n    benchmark(lambda: 1 / 0)\n")
    failed = plain("test_other.py", "--benchmark-compare")
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    assert cases(pytester) == {"test_other.py::test_other": "error"}
    (pytester.path / "test_plain.py").rename(pytester.path / "test_moved.py")
    plain("--benchmark-compare", "--deselect=test_other.py::test_other")
    found = json.loads((pytester.path / "reports" / "verdicts.json").read_text())["cases"]
    assert {name: outcome for name, outcome in found.items() if "slow" in name} == {
        "test_plain.py::test_sum[slow]": "missing",
        "test_moved.py::test_sum[slow]": "new",
    }


def test_a_run_that_is_named_must_be_there_and_be_whole(plain: Run, pytester: pytest.Pytester) -> None:
    plain("--benchmark-autosave")
    absent = plain("--benchmark-compare=0009")
    assert absent.ret == pytest.ExitCode.USAGE_ERROR
    absent.stderr.fnmatch_lines(["*no stored run matches under *; the newest are: 0001_*"])
    assert plain("--benchmark-compare=1", "-k", "same").ret == pytest.ExitCode.OK
    assert cases(pytester).keys() == {"same"}
    only_file(pytester).write_text("{")
    broken = plain("--benchmark-compare=0001")
    assert broken.ret == pytest.ExitCode.USAGE_ERROR
    broken.stderr.fnmatch_lines(["*0001_*found what is not JSON*"])
    nothing = plain("--benchmark-compare")
    assert nothing.ret == pytest.ExitCode.OK
    nothing.stdout.fnmatch_lines(["*4 cases: 4 new*", "*could not compare with a stored run: *not JSON*"])


def test_other_hardware_is_incomparable(plain: Run, pytester: pytest.Pytester) -> None:
    plain("--benchmark-autosave")
    data = json.loads(only_file(pytester).read_text())
    data["machine_info"]["cpu"]["count"] = 4096
    only_file(pytester).write_text(json.dumps(data))
    assert plain("--benchmark-compare").ret == pytest.ExitCode.OK
    assert set(cases(pytester).values()) == {"incomparable"}
