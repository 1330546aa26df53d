"""Plain pytest-benchmark with and without lmbench: the same results, files and exit statuses, and no silent passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.plugin.conftest import QUIET

Run = Callable[..., pytest.RunResult]
PLAIN = """
def test_one(benchmark):
    benchmark(sum, range(100))

def test_two(benchmark):
    benchmark(sum, range(200))
"""
KEPT = ("--benchmark-max-time=0.01", "--benchmark-min-rounds=3")


@pytest.fixture
def plain(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs plain benchmarks in a folder of their own; plain('-p', 'no:lmbench') without this plugin."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(test_plain=PLAIN)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*QUIET, *KEPT, *arguments)

    return run


def keys(value: Any) -> Any:
    """The shape of JSON: keys, and that of the first element of lists of objects."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else type(value).__name__


@pytest.mark.parametrize(
    "arguments",
    [
        ("--benchmark-autosave",),
        ("--benchmark-save=mine", "--benchmark-json=out.json"),
        ("--benchmark-autosave", "--benchmark-compare"),
        ("--benchmark-compare-fail=median:5%",),
        ("--benchmark-disable",),
        ("-k", "nothing"),
    ],
)
def test_the_same_files_keys_and_status_as_upstream(plain: Run, pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    seen = []
    for storage, without in (("upstream", ("-p", "no:lmbench")), ("ours", ())):
        result = plain(*without, f"--benchmark-storage=file://{storage}", *arguments)
        files = sorted(pytester.path.joinpath(storage).rglob("*.json"))
        shape = [keys(json.loads(file.read_text())) for file in [*files, *pytester.path.glob("out.json")]]
        names = [(file.parent.name, file.name.split("_")[0]) for file in files]
        lines = result.outlines
        own = next((index for index, line in enumerate(lines) if " lmbench -" in line), len(lines))  # our section follows
        table = [line for line in lines[:own] if line.startswith(("Name (time", "test_"))]
        seen.append((result.ret, names, shape, [line.split()[0] for line in table]))
        for file in pytester.path.glob("out.json"):
            file.unlink()
    assert seen[0] == seen[1]


def test_a_number_names_a_run_and_a_storage_elsewhere_works(plain: Run, pytester: pytest.Pytester) -> None:
    storage = f"--benchmark-storage=file://{pytester.path.parent / 'elsewhere'}"
    assert plain("--benchmark-autosave", storage).ret == 0
    (stored,) = pytester.path.parent.joinpath("elsewhere").rglob("*.json")
    data = json.loads(stored.read_text())
    data["machine_info"]["node"] = "another"
    stored.write_text(json.dumps(data))
    for compare in ("--benchmark-compare", "--benchmark-compare=0001"):
        result = plain(compare, storage)
        assert result.ret == 0, result.stderr
        assert any("machine_info is different" in line for line in [*result.errlines, *result.outlines])


def test_every_compare_fail_counts_not_only_the_last(plain: Run, pytester: pytest.Pytester) -> None:
    plain("--benchmark-autosave", "--benchmark-storage=file://store")
    (stored,) = pytester.path.joinpath("store").rglob("*.json")
    data = json.loads(stored.read_text())
    for bench in data["benchmarks"]:
        bench["stats"]["median"] /= 1000
    stored.write_text(json.dumps(data))
    checks = ("--benchmark-compare-fail=median:5%", "--benchmark-compare-fail", "stddev:999999%")
    result = plain("--benchmark-storage=file://store", "--benchmark-compare", *checks)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_only_the_newest_of_many_runs_is_read(plain: Run, pytester: pytest.Pytester) -> None:
    """Of 10,003 stored runs all but the newest are damaged: none of them may be opened."""
    plain("--benchmark-autosave", "--benchmark-storage=file://store")
    (stored,) = pytester.path.joinpath("store").rglob("*.json")
    whole = stored.read_text()
    for number in range(1, 200):
        (stored.parent / f"{number:04d}_old.json").write_text("{")
    (stored.parent / "10003_new.json").write_text(whole)
    result = plain("--benchmark-compare", "--benchmark-storage=file://store")
    assert result.ret == 0
    result.stderr.fnmatch_lines(["*Comparing against benchmarks from: *10003_new.json*"])
    assert "Failed to load" not in result.stderr.str()


def test_the_first_run_has_nothing_to_compare_with_and_says_so(plain: Run) -> None:
    result = plain("--benchmark-compare", "--benchmark-autosave")
    assert result.ret == 0
    assert any("Can't compare. No benchmark files" in line for line in [*result.errlines, *result.outlines])


def test_a_path_after_compare_is_not_swallowed(plain: Run) -> None:
    result = plain("--benchmark-compare", "test_plain.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*took 'test_plain.py' as the run to compare with. Put the path first*"])


def test_a_test_that_raises_or_fails_afterwards_fails(plain: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_bad="def test_raises(benchmark): benchmark(lambda: 1 / 0)\ndef test_late(benchmark):\n    benchmark(int)\n    assert 0"
    )
    plain("test_bad.py").assert_outcomes(failed=2)
