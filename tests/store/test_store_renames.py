"""Former names: how renames.yaml is read, followed and refused, and what a suite's `was:` makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.base.errors import ConfigError
from lmbench.plan.case import Case
from lmbench.plan.expand import expand
from lmbench.plan.former import renamed
from lmbench.store.baselines import recent
from lmbench.store.history import CellRatio, History, Night, Retirement
from lmbench.store.renames import Renames, read_renames, renamed_history
from lmbench.suite.load import load
from tests.report.synthetic import case, record, store

SUITE = """
models: {m: {model: fake}, n: {model: fake}}
matrix: {model: [m, n], backend: fake}
cases:
  first-token: {workload: latency, was: WAS}
  other: {workload: memory}
"""


def written(tmp_path: Path, text: str) -> Renames:
    path = tmp_path / "renames.yaml"
    path.write_text(text)
    return read_renames(path)


def test_a_file_a_case_or_one_cell_can_be_renamed_and_names_are_followed(tmp_path: Path) -> None:
    renames = written(
        tmp_path,
        """
        a.suite.yaml: b.suite.yaml
        b.suite.yaml::old: b.suite.yaml::new
        "b.suite.yaml::new[m-torch-none]": "b.suite.yaml::new[mini-torch-none]"
        tests/test_w.py::TestA::test_x: tests/test_w.py::test_y
        """,
    )
    assert renames.current("a.suite.yaml::old[m-torch-none]") == "b.suite.yaml::new[mini-torch-none]"
    assert renames.current("a.suite.yaml::old[n-torch-none]") == "b.suite.yaml::new[n-torch-none]"
    assert renames.current("a.suite.yaml::older[m-torch-none]") == "b.suite.yaml::older[m-torch-none]"
    assert renames.current("tests/test_w.py::TestA::test_x[a::b]") == "tests/test_w.py::test_y[a::b]"
    assert renames.current("tests/test_w.py::TestA::test_x2") == "tests/test_w.py::TestA::test_x2"
    former = renames.former("b.suite.yaml::new[mini-torch-none]")
    assert {"b.suite.yaml::new[m-torch-none]", "a.suite.yaml::old[m-torch-none]"} <= set(former)
    assert renames.resolve("b.suite.yaml::new[n-torch-none]", ["a.suite.yaml::old[n-torch-none]"]) is not None
    assert renames.resolve("c::d", []) is None
    kept = renames.without(["b.suite.yaml::old[m-torch-none]"])
    assert kept.current("b.suite.yaml::old[m-torch-none]") == "b.suite.yaml::old[m-torch-none]"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a::b: a::c\na::b: a::d\n", 2, "a second time (first in line 1)"),
        ("a::b: a::d\na::c: a::d\n", 2, "line 1 gives to 'a::b'"),
        ("a::b: a::c\na::c: a::b\n", 1, "leads back to itself"),
        ("a::b: a::b\n", 1, "the same name twice"),
        ("x: 1\na::b: c\n", 2, "not of the same kind"),
        ("a::b: 'a::c[x]'\n", 1, "not of the same kind"),
        ("a::b: [x]\n", 1, "what is no name"),
        ("a::b:\n", 1, "what is no name"),
        ("- a\n", 1, "what is no mapping"),
        ("a: b: c\n", 1, "what is not YAML"),
    ],
)
def test_faults_are_named_with_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, text)
    assert f"renames.yaml:{line}: " in str(caught.value) and words in str(caught.value)


def test_no_file_and_an_empty_one_rename_nothing(tmp_path: Path) -> None:
    assert read_renames(tmp_path / "absent.yaml").table == written(tmp_path, "# none yet\n").table == {}


def cases(tmp_path: Path, was: str) -> list[Case]:
    path = tmp_path / "a.suite.yaml"
    path.write_text(SUITE.replace("WAS", was))
    return expand(load(path, tmp_path), tmp_path)


def test_was_names_every_cell_and_changes_no_declaration(tmp_path: Path) -> None:
    with_it, without = cases(tmp_path, "[ttft, old/b.suite.yaml::first]"), cases(tmp_path, "[]")
    assert renamed(with_it) == {
        "a.suite.yaml::ttft[m-fake-none]": "a.suite.yaml::first-token[m-fake-none]",
        "old/b.suite.yaml::first[m-fake-none]": "a.suite.yaml::first-token[m-fake-none]",
        "a.suite.yaml::ttft[n-fake-none]": "a.suite.yaml::first-token[n-fake-none]",
        "old/b.suite.yaml::first[n-fake-none]": "a.suite.yaml::first-token[n-fake-none]",
    }
    assert [one.digest for one in with_it] == [one.digest for one in without]
    assert with_it == without and [one.to_json() for one in with_it] == [one.to_json() for one in without]


@pytest.mark.parametrize(
    ("was", "words"),
    [
        ("other", "other[m-fake-none], which is a case of this suite"),
        ("'a.suite.yaml::x[m-fake-none]'", "claims too"),
        ("'two words'", "cases.first-token.was"),
    ],
)
def test_former_names_in_use_or_claimed_twice_are_faults_of_the_suite(tmp_path: Path, was: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cases(tmp_path, was)
    assert "a.suite.yaml:5: " in str(caught.value) and words in str(caught.value)


def test_stored_runs_and_nights_come_under_the_name_a_case_has_now(tmp_path: Path) -> None:
    old, new = case(name="ttft"), case()
    renames = Renames(table={old.node_id: new.node_id})
    store(tmp_path, 1, [record(case=old)])
    store(tmp_path, 2, [record()])
    found = recent(tmp_path, [new.node_id], renames=renames)
    assert [one.case.name for one in found.of(new.node_id)] == ["first-token", "ttft"]
    assert found.expected == (new.node_id,)
    night = Night(at="", commit="c", pinned="p", run="r", cells=(CellRatio(node_id=old.node_id, metric="m", log_ratio=0.1),))
    gone = Retirement(node_id=old.node_id, at="", last="")
    history = renamed_history(History(nights=(night,), retired=(gone,)), renames)
    assert history.retired[0].node_id == new.node_id
    assert history.nights[0].cells[0].node_id == new.node_id
