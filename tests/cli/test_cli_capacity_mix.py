"""`lmbench capacity plan` and `lmbench site` over a traffic of several models, and over several runs of one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from lmbench.cli.main import cli
from tests.capacity.records import of_model, sources
from tests.cli.test_cli_capacity import journal

MIX: dict[str, Any] = {
    "description": "two models",
    "traffic": {"requests_per_s": 60, "models": {"gpt": 2, "lstm": 1}},
    "slo": {"latency_p95_s": 0.05},
    "routing": "random",
    "options": {"fp32": {"price_per_hour": 1}},
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, the first of them with an older run."""
    gpt = [one.record for one in sources()]
    older = [replace(one, started_at="2025-12-01T00:00:00+00:00") for one in gpt if one.case.workload == "stress"]
    folder = tmp_path_factory.mktemp("storage")
    journal(folder / "made.jsonl", [*gpt, *(one.record for one in of_model(sources(), "lstm"))], {})
    journal(folder / "older.jsonl", older, {})
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(stored: Path, *arguments: str, **changes: Any) -> Result:
    Path("mix.plan.yaml").write_text(yaml.safe_dump({**MIX, **changes}))
    return CliRunner().invoke(cli, ["capacity", "plan", "mix.plan.yaml", "--storage", str(stored), *arguments])


def test_each_model_is_planned_and_all_of_them_summed(stored: Path, here: Path) -> None:
    result = planned(stored)
    assert result.exit_code == 0, result.output
    places = [result.stdout.index(words) for words in ("gpt: 66.7 %", "lstm: 33.3 %", "All models together", "best of each")]
    assert places == sorted(places)
    assert "fp32 of lstm (1 of 1)" in result.stderr
    for name in ("capacity.md", "capacity.html"):
        assert "All models together" in (here / "reports" / name).read_text()


def test_it_fails_unless_every_model_has_an_option(stored: Path) -> None:
    result = planned(stored, "--json", traffic={"requests_per_s": 60, "models": {"gpt": 1, "unknown": 1}})
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["models"]["gpt"]["recommended"] == "fp32"
    assert found["total"]["cheapest"]["broken"] == ["unknown"]


def test_older_runs_of_the_same_case_are_in_the_interval(stored: Path) -> None:
    found = json.loads(planned(stored, "--json").stdout)["models"]
    assert [found[model]["options"][0]["measured"]["runs"] for model in ("gpt", "lstm")] == [2, 1]


def test_the_site_has_a_page_per_model(stored: Path, here: Path) -> None:
    planned(stored)
    result = CliRunner().invoke(cli, ["site", "--plan", "mix.plan.yaml", "--root", str(stored), "--out", "site"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (here / "site" / "plans").iterdir()) == ["mix-gpt.html", "mix-lstm.html"]
