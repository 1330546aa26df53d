"""Environments of their own: what they are made from, that nothing half-made stays, and which interpreter a case gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmbench.base import environments as recipes
from lmbench.base.entry import Entry
from lmbench.base.environments import ENVIRONMENTS, Environment, key_of, own_source, python_of
from lmbench.base.errors import FetchError
from lmbench.base.registry import BACKENDS
from lmbench.plan.case import Case, Choice
from lmbench.plan.select import obstacle
from lmbench.run import environments, isolate
from lmbench.run.execute import Setting


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment 'bare' that needs nothing from an index: it sees the packages of this one."""
    monkeypatch.setitem(ENVIRONMENTS, "bare", Environment(about="nothing", requirements=()))


@pytest.fixture
def housed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake backend, as one that runs in the environment 'bare'."""
    entry = Entry(target="lmbench.backends.fake:load", about="in a house", takes=("fake",), env="bare")
    monkeypatch.setitem(BACKENDS, "housed", entry)


CASE = Case(
    suite="s",
    name="c",
    workload="latency",
    params={"prompt_tokens": 4, "output_tokens": 2},
    model=Choice(name="fake", kind="fake"),
    backend=Choice(name="housed", kind="housed"),
    compression=Choice(name="none", kind="none"),
    corpus={"source": "python-reference"},
)
SETTING = Setting(environment="e", machine_class="m", once=True)


def without_index(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Virtual environments without pip that see this one's packages, and what pip would have been told."""
    asked: list[list[str]] = []
    run = environments._run

    def instead(command: list[str], name: str) -> None:
        if "pip" in command:
            asked.append(command[command.index("off") + 1 :])
            return
        run([*command[:-1], "--without-pip", command[-1]], name)
        paths = [path for path in sys.path if path and Path(path).is_dir()]
        site = next(Path(command[-1]).glob("lib/python*/site-packages"))
        (site / "here.pth").write_text("\n".join(paths))

    monkeypatch.setattr(environments, "_run", instead)
    return asked


@pytest.mark.usefixtures("bare", "housed")
def test_a_case_runs_by_the_interpreter_of_its_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert obstacle(CASE) == "housed runs in an environment of its own; run: lmbench env create bare"
    asked = without_index(monkeypatch)
    folder = environments.create("bare", lambda _: None)
    assert asked == [[recipes.BASE[0]], [*recipes.BASE], own_source()]
    assert obstacle(CASE) is None
    assert python_of("bare") == folder / "bin" / "python"
    seen: dict[str, Any] = {}
    popen = subprocess.Popen

    def watched(command: list[str], **more: Any) -> Any:
        seen["python"] = command[0]
        return popen(command, **more)

    monkeypatch.setattr(subprocess, "Popen", watched)
    record = isolate.run_isolated(CASE, SETTING, lambda _: None, tmp_path)
    assert seen["python"] == str(folder / "bin" / "python")
    assert record.failure is not None  # the worker there has no backend of that name: it was registered in this process only
    assert "housed" in record.failure.message
    assert environments.remove("bare") > 0
    assert python_of("bare") is None


@pytest.mark.usefixtures("bare")
def test_a_failure_says_what_pip_said_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(environments, "own_source", lambda: ["./no-such-folder-anywhere"])
    monkeypatch.setattr(environments, "BASE", ("./no-such-folder-anywhere",))
    with pytest.raises(FetchError, match=r"(?s)no-such-folder-anywhere.*Nothing was kept"):
        environments.create("bare", lambda _: None)
    assert python_of("bare") is None
    assert [path for path in (cache / "env").iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_recipes_are_pinned_and_told_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all("==" in requirement for requirement in ENVIRONMENTS[name].requirements)
    before = key_of(name)
    assert before["lmbench"] == own_source()
    monkeypatch.setattr(recipes, "BASE", ("torch==9",))
    assert key_of(name) != before


def test_lmbench_is_installed_from_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def __init__(self, direct: str | None) -> None:
            self.direct = direct

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return self.direct

    for direct, expected in (
        (None, ["pytest-lmbench==1.2"]),
        ('{"url": "file:///src/a%20b", "dir_info": {"editable": true}}', ["--editable", "/src/a b"]),
        ('{"url": "file:///src/c", "dir_info": {}}', ["/src/c"]),
    ):
        monkeypatch.setattr(recipes, "distributions", lambda name, direct=direct: name and [Installed(None), Installed(direct)])
        monkeypatch.setattr(recipes, "version", lambda _: "1.2")
        assert own_source() == expected
