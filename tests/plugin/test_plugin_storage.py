"""Where a session stores its runs, and that the commands find them there: nothing configured, a subfolder, no suites."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lmbench.cli.main import cli
from lmbench.measure.machine import machine_class
from lmbench.store.files import list_all
from tests.plugin.conftest import QUIET, SUITE, write

FLAG = "--benchmark-storage"
PLAIN = "def test_plain(benchmark):\n    benchmark(sum, range(9))\n"
QUICK = (*QUIET, "--benchmark-autosave")


@pytest.fixture
def empty(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder without any configuration."""
    for name in ("LMBENCH_CACHE", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def plain(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_plain=PLAIN)


def test_without_configuration_suites_store_where_the_commands_look(empty: pytest.Pytester) -> None:
    write(empty, SUITE)
    plain(empty)
    mine = machine_class().slug
    done = empty.runpytest_subprocess(*QUICK, "--benchmark-compare")
    done.stdout.fnmatch_lines([f"lmbench storage: baselines/{mine} (the default)"])
    assert len(list_all(empty.path / "baselines" / mine)) == 1
    assert not (empty.path / ".benchmarks").exists(), "pytest-benchmark's own folder was made by this session and is empty"
    for verb in (("baseline", "list"), ("report",), ("site",), ("records", "list"), ("export", "csv")):
        result = CliRunner().invoke(cli, list(verb))
        assert (result.exit_code, "no stored run" in result.output) == (0, False), result.output
    again = empty.runpytest_subprocess(*QUICK, "test_plain.py")
    assert "lmbench storage" not in again.stdout.str(), "a session without suites is not spoken to"
    assert len(list_all(empty.path / "baselines" / mine)) == 2, "its runs join those that lie there"


def test_a_session_without_suites_is_left_to_pytest_benchmark_and_suites_join_its_runs(empty: pytest.Pytester) -> None:
    plain(empty)
    done = empty.runpytest_subprocess(*QUICK)
    assert "lmbench" not in done.stdout.str().partition("collected")[2]
    assert len(list_all(empty.path / ".benchmarks")) == 1
    assert not (empty.path / "baselines").exists()
    write(empty, SUITE)
    joined = empty.runpytest_subprocess(*QUICK, "--lmbench-reports=none")
    joined.stdout.fnmatch_lines(["lmbench storage: .benchmarks (which holds runs)"])
    assert len(list_all(empty.path / ".benchmarks")) == 2
    assert not (empty.path / "baselines").exists()


def test_a_configured_storage_is_the_same_from_a_subfolder(empty: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.makeini("[pytest]\naddopts = --benchmark-storage='our runs'\n")
    suites = empty.mkdir("suites")
    (suites / "a.suite.yaml").write_text(SUITE)
    monkeypatch.chdir(suites)
    done = empty.runpytest_subprocess(*QUICK, "--lmbench-reports=none")
    done.stdout.fnmatch_lines([f"lmbench storage: {empty.path}/our runs (configured in tox.ini)"])
    assert [file.path.parent.parent for file in list_all(empty.path / "our runs")] == [empty.path / "our runs"]
    assert sorted(path.name for path in Path().iterdir()) == ["a.suite.yaml"]
    for folder in (suites, empty.path):
        monkeypatch.chdir(folder)
        listed = CliRunner().invoke(cli, ["baseline", "list"])
        assert (listed.exit_code, "0001_" in listed.stdout) == (0, True), listed.output


def test_a_storage_on_the_command_line_starts_at_the_working_folder(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\naddopts = --benchmark-storage=configured\n")
    folder = pytester.mkdir("below")
    monkeypatch.chdir(folder)
    config = pytester.parseconfigure("--benchmark-storage", "mine")
    assert config.getoption("benchmark_storage") == f"file://{folder}/mine"
    assert "lmbench storage" not in str(config.hook.pytest_report_header(config=config, start_path=folder))
    config._ensure_unconfigure()
    asked = pytester.parseconfigure("--benchmark-storage=mine", "--lmbench-slow")
    line = f"lmbench storage: mine ({FLAG})"
    assert line in asked.hook.pytest_report_header(config=asked, start_path=folder)
    assert line not in asked.hook.pytest_report_collectionfinish(config=asked, items=[], start_path=folder, startdir=folder)
    asked._ensure_unconfigure()
