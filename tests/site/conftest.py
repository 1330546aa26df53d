"""A site of made-up runs with a plan and hostile names, and a browser to look at it with, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lmbench.capacity import surface
from lmbench.capacity.demand import demand
from lmbench.capacity.matching import Source
from lmbench.capacity.measured import replica
from lmbench.capacity.plan import plan
from lmbench.capacity.plan_file import Autoscale, Option, PlanRequest, PlanSlo, Redundancy, Traffic
from lmbench.capacity.training import training_plans
from lmbench.capacity.training_file import TrainingRequest
from lmbench.report.capacity import CapacityReport
from lmbench.report.training_plan import TrainingReport
from lmbench.site.build import build_site
from lmbench.site.gather import gather
from lmbench.site.nouns import Nightly, Stored
from lmbench.store.imports import run_files
from lmbench.store.ledger import Change
from lmbench.store.runs import read_run
from tests.capacity import records
from tests.site import stored

MADE_AT = "2026-03-01T00:00:00+00:00"
AXE = "LMBENCH_AXE"
NO_AXE = f"axe-core is not here: make browser, or {AXE}=path of its axe.min.js"


@pytest.fixture(scope="session")
def capacity() -> CapacityReport:
    """Two options of known service times, one of them dearer and faster, and a cheap one whose predictions were wrong."""
    options = {
        "fp32": Option(model="gpt", price_per_hour=0.4, idle_w=30.0, busy_w=65.0),
        "int8 </script>": Option(model="gpt", compression="bf16", price_per_hour=0.5),
        "unreliable": Option(model="gpt", price_per_hour=0.01),
    }
    sources = {
        "fp32": records.sources("none"),
        "int8 </script>": records.sources("bf16", mean_s=0.006, ratio=1.004, cold_start_s=200.0),
    }
    replicas = {name: replica(name, options[name], found) for name, found in sources.items()}
    wrong = tuple(replace(test, predicted_p95_s=2 * test.measured_p95_s) for test in replicas["fp32"].backtests)
    replicas["unreliable"] = replace(replicas["fp32"], option="unreliable", backtests=wrong)
    request = PlanRequest(
        description=f"made up {stored.HOSTILE}",
        traffic=Traffic(requests_per_s=400.0, growth=1.5, profile="office", burst=1.3),
        slo=PlanSlo(latency_p95_s=0.05, perplexity_ratio=1.01),
        redundancy=Redundancy(spare=1, zones=3),
        routing="power-of-two",
        autoscale=Autoscale(utilization=0.6, least=2, every_s=120.0),
        options=options,
    )
    with pytest.MonkeyPatch.context() as patch:
        # A coarse simulation has all that the pages and the arithmetic on it need.
        patch.setattr(surface, "ARRIVALS", 600)
        made = plan(request, demand(request.traffic), replicas)
    return CapacityReport(plan=made, source="made-up.plan.yaml", measured=replicas, runs=2)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Thirty runs of fourteen cases that become slower, a hostile one, a nightly history, a ledger."""
    root = tmp_path_factory.mktemp("storage")
    stored.store(root, 30, 14)
    stored.hostile(root)
    runs = [read_run(path) for path in run_files(root)]
    changes = [Change(case="suites/*", metric="peak_rss_bytes", change=0.1, reason=f"meant {stored.HOSTILE}", commit="abc")]
    return gather(runs, changes=changes, nightly=[nightly(runs[-1].records[0].machine_class)], problems=[stored.HOSTILE])


def nightly(machine_class: str) -> Nightly:
    """A paired history of the first case that became 6 % slower."""
    series, found = stored.nights(stored.records(1)[0].case.node_id)
    return Nightly(machine_class=machine_class, series=series, findings=found)


@pytest.fixture(scope="session")
def site(history: Stored, capacity: CapacityReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole site."""
    folder = tmp_path_factory.mktemp("site")
    build_site(history, [capacity], folder, made_at=MADE_AT, trainings=[training(history)])
    return folder


def training(history: Stored) -> TrainingReport:
    """A plan of a hostile name over the stored training records: one machine, four, and a model that nobody measured."""
    options = {
        "one": {"model": "gpt-0", "price_per_hour": 0.4},
        f"four {stored.HOSTILE}": {"model": "gpt-0", "machines": 4, "efficiency": 0.8, "price_per_hour": 0.4},
        "unknown": {"model": stored.HOSTILE, "case": "none"},
    }
    request = TrainingRequest.model_validate({"description": stored.HOSTILE, "tokens": 1e9, "deadline_h": 20, "options": options})
    sources = [Source(record=record) for run in history.declared_runs for record in run.records]
    return TrainingReport(plans=training_plans(request, sources), source=f"{stored.HOSTILE}.yaml", runs=len(history.runs))


@dataclass(slots=True)
class Seen:
    """What a page did beside showing itself."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium of the system, without a window."""
    why = "needs a browser: make browser (playwright without its own browsers, and Chromium of the system)"
    api = pytest.importorskip("playwright.sync_api", reason=why)
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs a browser: make browser, or apt-get install chromium")
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def tab(browser: Any, seen: Seen) -> Iterator[Any]:
    """A page of 1280 px whose errors and requests are written down."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.on("console", lambda message: seen.errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    yield page
    context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    path = Path(os.environ.get(AXE) or "node_modules/axe-core/axe.min.js")
    if not path.is_file():
        pytest.skip(NO_AXE)
    return path.read_text(encoding="utf-8")
