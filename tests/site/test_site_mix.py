"""A plan of several models on the site: one page each, their sums on every page and in the list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmbench.report.capacity import CapacityReport
from lmbench.site.build import build_site
from lmbench.site.nouns import Stored
from tests.site.stored import HOSTILE


@pytest.fixture(scope="module")
def folder(history: Stored, capacity: CapacityReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside a plan of one model."""
    models = [replace(capacity, source="mix.plan.yaml", model=name, share=0.5) for name in ("gpt", f"lstm{HOSTILE}")]
    made = tmp_path_factory.mktemp("mix")
    build_site(history, [capacity, *models], made, made_at="2026-03-01T00:00:00+00:00")
    return made


def test_each_model_has_its_page_and_all_of_them_their_sums(folder: Path) -> None:
    pages = sorted(path.name for path in (folder / "plans").iterdir())
    assert pages[:2] == ["made-up.html", "mix-gpt.html"]
    assert len(pages) == 3
    for name in pages:
        text = (folder / "plans" / name).read_text()
        assert ("All models together" in text) is (name != "made-up.html")
        assert ("50.0 % of the requests, on replicas of its own" in text) is (name != "made-up.html")
        assert HOSTILE not in text


def test_the_list_has_one_section_per_plan_file(folder: Path) -> None:
    text = (folder / "capacity.html").read_text()
    assert text.count("<section>") == 2
    assert text.count("All models together") >= 1
    assert 'href="plans/mix-gpt.html' in text and 'href="plans/made-up.html' in text
    assert HOSTILE not in text


def test_the_pages_of_a_mix_can_be_used_by_everyone_and_calculate_alone(folder: Path, tab: Any, axe: str) -> None:
    for page in (folder / "capacity.html", folder / "plans" / "mix-gpt.html"):
        tab.goto(page.as_uri())
        tab.evaluate(axe)
        found = tab.evaluate("axe.run()")
        assert found["passes"]
        assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
    assert " x int8" in tab.locator("#answer").inner_text()
