"""Where the commands and pytest look for stored runs: the same folder, whatever is configured and wherever they are started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lmbench.base.errors import StoreError
from lmbench.cli.main import cli
from lmbench.measure.machine import machine_class
from lmbench.store.place import place
from tests.report.synthetic import record, store

FLAG = "--benchmark-storage"
KINDS = {
    "pytest.ini": f'[pytest]\naddopts = -q {FLAG}="my runs"\n',
    ".pytest.ini": f'[pytest]\naddopts = {FLAG} "my runs" -q\n',
    "pyproject.toml": f"[tool.pytest.ini_options]\naddopts = \"-q {FLAG}='my runs'\"\n",
    "native/pyproject.toml": f'[tool.pytest]\naddopts = ["-q", "{FLAG}", "my runs"]\n',
    "pytest.toml": f'[pytest]\naddopts = ["{FLAG}=my runs"]\n',
    "tox.ini": f"[tox]\nenvlist = a\n[pytest]\naddopts =\n    -q\n    {FLAG}='my runs'\n",
    "setup.cfg": f'[tool:pytest]\naddopts = {FLAG}="file://my runs"\n',
}
VERBS = (
    ("baseline", "list"),
    ("baseline", "show", "last"),
    ("report",),
    ("site",),
    ("query", "select count(*) from records"),
    ("export", "csv"),
    ("records", "list"),
    ("capacity", "roofline"),
    ("compare", "last~1", "last"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def said(result: Result) -> str:
    return " ".join(f"{result.output} {result.exception or ''}".split())


@pytest.mark.parametrize("kind", KINDS)
def test_each_configuration_file_counts_for_pytest_and_for_the_commands(
    kind: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    root = pytester.path / "a project"
    folder = root / "suites" / "deep"
    folder.mkdir(parents=True)
    (root / kind.rpartition("/")[2]).write_text(KINDS[kind])
    for start in (root, folder):
        monkeypatch.chdir(start)
        found = place()
        assert (found.root, found.folder, found.whole) == (root, root / "my runs", root / "my runs")
        assert found.origin == f"configured in {kind.rpartition('/')[2]}"
        config = pytester.parseconfigure(str(start))
        assert config.getoption("benchmark_storage") == f"file://{found.folder}"
        config._ensure_unconfigure()


def test_the_nearest_configuration_decides_and_the_environment_outranks_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = machine_class().slug
    (here / "pytest.ini").write_text(f"[pytest]\naddopts = {FLAG}=outer/{{machine_class}}\n")
    inner = here / "package"
    inner.mkdir()
    (inner / "setup.cfg").write_text("[metadata]\nname = x\n")
    monkeypatch.chdir(inner)
    assert (place().folder, place().whole) == (here / "outer" / mine, here / "outer")
    (inner / "pyproject.toml").write_text(f'[tool.pytest.ini_options]\naddopts = ["{FLAG}=a", "{FLAG}=inner"]\n')
    assert place().folder == inner / "inner", "the last of several counts"
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-q {FLAG} elsewhere")
    assert place().folder == inner / "elsewhere"
    assert place().origin == "configured in PYTEST_ADDOPTS"
    monkeypatch.setenv("PYTEST_ADDOPTS", "--rootdir=.. -c ../pytest.ini")
    assert place().folder == here / "outer" / mine
    monkeypatch.setenv("PYTEST_ADDOPTS", "'")
    with pytest.raises(StoreError, match="PYTEST_ADDOPTS: found addopts"):
        place()
    monkeypatch.delenv("PYTEST_ADDOPTS")
    (inner / "pyproject.toml").write_text("[tool.pytest")
    with pytest.raises(StoreError, match=r"pyproject\.toml: cannot be read"):
        place()


def test_runs_stay_where_they_are(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = machine_class().slug
    assert place().folder == here / "baselines" / mine
    theirs = store(here / "baselines", 2024, [record()])
    assert not place().settled, "a folder of that name that is not laid out by machine class is somebody else's"
    theirs.unlink()
    store(here / ".benchmarks", 1, [record()])
    assert (place().folder, place().origin) == (here / ".benchmarks", "which holds runs")
    store(here / "baselines" / "another-machine", 1, [record()])
    assert place().folder == here / "baselines" / mine
    sub = here / "sub"
    store(sub / "old", 1, [record()])
    (here / "pytest.ini").write_text(f"[pytest]\naddopts = {FLAG}=old\n")
    monkeypatch.chdir(sub)
    assert place().folder == sub / "old", "pytest-benchmark alone has put them there"
    store(here / "old", 1, [record()])
    assert place().folder == here / "old"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: "-".join(verb[:2]).replace(" ", "_")[:20])
def test_a_verb_without_runs_names_where_it_looked_and_what_lies_elsewhere(here: Path, verb: tuple[str, ...]) -> None:
    (here / "pyproject.toml").write_text(f'[tool.pytest.ini_options]\naddopts = "{FLAG}=mine"\n')
    for number in (1, 2, 3):
        store(here / ".benchmarks", number, [record()])
    result = run(*verb)
    assert "no stored run in mine (configured in pyproject.toml); 3 runs are in .benchmarks/" in said(result)
    assert (result.exit_code == 0) == (verb[-1] == "list")
    assert not (here / "reports").exists(), "a site or report of nothing is not written"
    assert not (here / "mine").exists()


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: "-".join(verb[:2]).replace(" ", "_")[:20])
def test_every_verb_finds_the_configured_runs_from_a_folder_below(
    here: Path, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "tox.ini").write_text(f"[pytest]\naddopts = {FLAG}=file://stored/{{machine_class}}\n")
    store(here / "stored" / machine_class().slug, 1, [record()])
    (here / "stored" / machine_class().slug / "Linux-CPython-3.11-64bit" / "0002_torn.json").write_text('{"benchmarks": [')
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    result = run(*verb)
    assert result.exit_code == (2 if verb[0] in ("records", "compare") else 0), said(result)
    if verb[0] != "capacity":
        assert "0002_torn.json" in result.stderr, "a damaged file is named and left out"
    assert f"storage: {here}/stored/{machine_class().slug} (configured in tox.ini)" in result.stderr


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: "-".join(verb[:2]).replace(" ", "_")[:20])
def test_a_storage_that_is_no_folder_is_named_without_its_password(here: Path, verb: tuple[str, ...]) -> None:
    (here / "pytest.ini").write_text(f"[pytest]\naddopts = {FLAG}=elasticsearch+https://me:secret@host/index\n")
    result = run(*verb)
    assert isinstance(result.exception, StoreError) or result.exit_code == 2
    assert "elasticsearch+https://***@host/index (configured in pytest.ini), and lmbench reads folders only" in said(result)
    assert "secret" not in said(result)


def test_the_option_outranks_what_is_configured(here: Path) -> None:
    (here / "pytest.ini").write_text(f"[pytest]\naddopts = {FLAG}=mine\n")
    mine = machine_class().slug
    store(here / "yours" / mine, 1, [record()])
    for given in (f"yours/{mine}", f"file://yours/{mine}", "yours/{machine_class}", str(here / "yours" / mine)):
        listed = run("baseline", "list", "--storage", given)
        assert "0001_run.json" in listed.output and "storage:" not in listed.output
    counted = run("query", "select count(distinct run) as runs from records", "--json", "--root", "yours")
    assert json.loads(counted.stdout) == [{"runs": 1}]
    (here / "file").write_text("")
    assert "is a file; expected a folder" in run("site", "--root", "file").output


def test_runs_of_sessions_begun_in_a_folder_below_are_named(here: Path) -> None:
    store(here / "suites" / "baselines" / machine_class().slug, 1, [record()])
    assert "1 run is in suites/baselines/; name a folder with --storage" in said(run("report"))


def test_plain_results_alone_are_nothing_to_export(here: Path) -> None:
    path = store(here / ".benchmarks", 1, [record()])
    path.write_text(json.dumps({"benchmarks": [{"fullname": "t.py::t", "stats": {"median": 1.0}}], "datetime": "2026-01-01"}))
    for verb in ("report", "site", "export csv"):
        result = run(*verb.split())
        assert (result.exit_code, "none holds a record of a suite" in said(result)) == (2, True), said(result)
