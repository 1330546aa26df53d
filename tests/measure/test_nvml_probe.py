"""The real NVML binding over a stand-in driver library: normal, absent, unsupported, lost while sampling."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
# Each answer is read in a child process: a driver library once loaded stays loaded.
READ_TWICE = """
import json, os, pathlib, sys
from lmbench.measure.probes.nvml import open_nvml
session, reason = open_nvml()
if session is None:
    print(json.dumps({"reason": reason})); sys.exit()
first = session.read([os.getpid()])
if os.environ.get("LMBENCH_STUB_LOST"):
    pathlib.Path(os.environ["LMBENCH_STUB_LOST"]).touch()
second = session.read()
third = session.read()
devices = [{"facts": d.facts, "lost": d.lost, "reasons": d.reasons} for d in session.devices]
print(json.dumps({"driver": session.driver_version, "first": first, "second": second, "third": third, "devices": devices}))
session.close()
"""
SAMPLE = """
import json, os, pathlib, time
from lmbench.measure.clock import CLOCK
from lmbench.measure.sampler import Sampler
from lmbench.measure.samples import summary
with Sampler(os.getpid(), hz=50) as sampler:
    CLOCK.sleep_until(CLOCK.now() + 0.4)
    if os.environ.get("LMBENCH_STUB_LOST"):
        pathlib.Path(os.environ["LMBENCH_STUB_LOST"]).touch()
        CLOCK.sleep_until(CLOCK.now() + 0.4)
print(json.dumps(summary(sampler.stop())))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc compiles the stand-in driver library, and it is not installed")
    folder = tmp_path_factory.mktemp("driver")
    flags = ["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(folder / "libnvidia-ml.so.1")]
    subprocess.run([compiler, *flags, str(SOURCE)], check=True)
    return folder


def run(script: str, driver: Path | None, **variables: str) -> dict[str, Any]:
    environment = {**os.environ, **variables}
    if driver is not None:
        environment["LD_LIBRARY_PATH"] = str(driver)
    answer = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert isinstance(found, dict)
    return found


def test_a_normal_device_answers_everything(driver: Path) -> None:
    found = run(READ_TWICE, driver)
    assert found["driver"] == "999.10"
    assert found["devices"][0]["facts"] == {"index": 0, "name": "NVIDIA Stub 40GB", "memory_total_bytes": 40 << 30}
    row = found["first"][0]
    assert row["utilization"] == 0.75
    assert row["memory_used_bytes"] == 3 << 30
    assert row["power_w"] == 100.0
    assert row["sm_clock_hz"] == 1.41e9
    assert row["memory_clock_hz"] == 1.215e9
    assert row["temperature_c"] == 61
    assert row["tree_memory_bytes"] == 0
    assert "tree_memory_bytes" not in found["second"][0]
    assert found["devices"][0]["reasons"] == {}


def test_only_the_trees_processes_count_as_its_device_memory(driver: Path) -> None:
    script = READ_TWICE.replace("session.read([os.getpid()])", "session.read([4242])")
    found = run(script, driver, LMBENCH_STUB_PID="4242")
    assert found["first"][0]["tree_memory_bytes"] == 1 << 30


def test_a_driver_that_is_not_loaded_is_a_reason(driver: Path) -> None:
    assert run(READ_TWICE, driver, LMBENCH_STUB_MODE="driver") == {"reason": "no NVIDIA driver: Driver Not Loaded"}


def test_an_unsupported_query_is_asked_once_and_keeps_its_reason(driver: Path) -> None:
    found = run(READ_TWICE, driver, LMBENCH_STUB_MODE="unsupported")
    assert "energy_j" not in found["first"][0]
    assert found["devices"][0]["reasons"] == {"energy_j": "Not Supported"}
    assert found["third"][0]["power_w"] == 100.0


def test_a_lost_device_leaves_the_other_alone(driver: Path, tmp_path: Path) -> None:
    found = run(READ_TWICE, driver, LMBENCH_STUB_LOST=str(tmp_path / "lost"))
    assert found["first"][1]["power_w"] == 100.0
    assert found["second"][1] == {}
    assert found["devices"][1]["lost"] == "device 1: GPU is lost"
    assert found["third"][0]["power_w"] == 100.0
    assert found["devices"][0]["lost"] == ""


def test_the_sampler_prefers_the_energy_counter(driver: Path) -> None:
    found = run(SAMPLE, driver)
    parts = {part["source"]: part for part in found["energy"]["parts"]}
    wall = found["window"]["wall_s"]
    assert parts["gpu0"]["method"] == "energy counter"
    assert parts["gpu0"]["j"] == pytest.approx(100.0 * wall, rel=0.2)
    assert found["gpu"][0]["quantities"]["utilization"]["mean"] == 0.75
    assert found["gpu"][0]["throttled_samples"]["sw_power_cap"] == found["window"]["samples"]
    assert found["gpu_reason"] == ""
    assert "gpu0_power_w" in found["timeline"]


def test_polled_power_is_the_fallback(driver: Path) -> None:
    found = run(SAMPLE, driver, LMBENCH_STUB_MODE="unsupported")
    parts = {part["source"]: part for part in found["energy"]["parts"]}
    assert parts["gpu1"]["method"] == "integral of polled power"
    assert parts["gpu1"]["j"] == pytest.approx(100.0 * found["window"]["wall_s"], rel=1e-6)
    assert found["gpu"][1]["reasons"]["energy_j"] == "Not Supported"


def test_a_device_lost_while_sampling_keeps_everything_else(driver: Path, tmp_path: Path) -> None:
    found = run(SAMPLE, driver, LMBENCH_STUB_LOST=str(tmp_path / "lost"))
    assert found["gpu"][1]["lost"] == "device 1: GPU is lost"
    kept, lost = found["gpu"][0]["quantities"]["power_w"]["n"], found["gpu"][1]["quantities"]["power_w"]["n"]
    assert 0 < lost < kept
    assert found["quantities"]["rss_bytes"]["n"] == kept
    assert found["problem"] == ""
    assert "gpu1" in found["energy"]["reason"]


def test_the_machine_class_names_the_devices(driver: Path) -> None:
    script = (
        "import json; from lmbench.measure.machine import machine_class as m; print(json.dumps({'slug': m().slug, **m().facts}))"
    )
    found = run(script, driver)
    assert found["gpus"] == [["NVIDIA Stub 40GB", 40, 2]]
    assert "-2xstub-40gb-" in found["slug"]


def test_without_a_driver_the_reason_is_said() -> None:
    found = run(READ_TWICE, None)
    if "reason" not in found:
        pytest.skip("this machine has an NVIDIA driver")
    assert found["reason"] == "no NVIDIA driver: NVML Shared Library Not Found"
