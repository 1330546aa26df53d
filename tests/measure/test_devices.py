"""Which GPUs a case used, by every form of CUDA_VISIBLE_DEVICES, and that only their energy is counted."""

from __future__ import annotations

import pytest

from lmbench.measure.devices import Installed, installed, used_devices
from lmbench.measure.samples import Samples, summary
from lmbench.measure.utilization import resource_metrics

ALIKE = [Installed(name="H", uuid=f"GPU-{index}a{index}") for index in range(4)]
MIXED = [Installed(name="A", uuid="GPU-aa"), Installed(name="B", uuid="GPU-bb")]
SLICED = [Installed(name="H", uuid="GPU-0a"), Installed(name="H", uuid="GPU-1b", slices=("MIG-11", "MIG-12"))]


@pytest.mark.parametrize(
    ("device", "variables", "processes", "expected"),
    [
        ("cpu", {}, 1, set()),
        ("cuda", {}, 1, {0}),
        ("cuda:2", {}, 1, {2}),
        ("cuda:0", {}, 3, {0, 1, 2}),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": "3"}, 1, {3}),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "2, 0"}, 1, {0}),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": "GPU-2a2"}, 1, {2}),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "GPU-3,GPU-1a"}, 1, {1}),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, 1, {1}),
        ("H", {"CUDA_VISIBLE_DEVICES": "2"}, 1, {2}),
    ],
)
def test_the_engine_s_device_by_nvml_s_number(device: str, variables: dict[str, str], processes: int, expected: set[int]) -> None:
    found = used_devices(device, ALIKE, variables, processes)
    assert (found.indices, found.note) == (frozenset(expected), "")


@pytest.mark.parametrize(
    ("device", "machine", "variables", "why"),
    [
        (None, ALIKE, {}, "the engine does not say which it used"),
        ("xpu:0", ALIKE, {}, "the engine does not say which it used"),
        ("cuda:0", ALIKE, {"CUDA_VISIBLE_DEVICES": ""}, "cuda:0 is not among the 0 that"),
        ("cuda:1", ALIKE, {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, "cuda:1 is not among the 1 that"),
        ("cuda:0", ALIKE, {"CUDA_VISIBLE_DEVICES": "GPU-9"}, "is not among"),
        ("cuda:0", MIXED, {}, "unless CUDA_DEVICE_ORDER=PCI_BUS_ID"),
        ("cuda:0", MIXED, {"CUDA_VISIBLE_DEVICES": "1"}, "unless CUDA_DEVICE_ORDER=PCI_BUS_ID"),
    ],
)
def test_what_is_not_known_counts_the_node_and_says_so(
    device: str | None, machine: list[Installed], variables: dict[str, str], why: str
) -> None:
    found = used_devices(device, machine, variables)
    assert found.indices is None
    assert found.note.startswith("energy of every GPU of the machine: ") and why in found.note


def test_gpus_that_differ_are_told_apart_by_uuid_or_by_order() -> None:
    assert used_devices("cuda:0", MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}).indices == frozenset({1})
    assert used_devices("cuda:1", MIXED, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).indices == frozenset({1})


@pytest.mark.parametrize("name", ["MIG-12", "MIG-GPU-1b/7/0"])
def test_a_mig_instance_has_the_energy_of_its_whole_gpu(name: str) -> None:
    found = used_devices("cuda:0", SLICED, {"CUDA_VISIBLE_DEVICES": name})
    assert found.indices == frozenset({1})
    assert found.note == "gpu1 is split into MIG instances: energy of the whole GPU"


def test_only_the_devices_used_are_summed() -> None:
    header = {
        "hz": 1.0,
        "reasons": {},
        "gpu_reason": "",
        "devices": [{"index": 0, "name": "H"}, {"index": 1, "name": "H"}],
        "device_ids": [{"uuid": "GPU-0a", "slices": []}, {"uuid": "GPU-1b", "slices": []}],
    }
    rows = tuple(
        {"t": float(t), "own_cpu_s": 0.0, "rapl_j": 10.0 * t, "devices": [{"energy_j": 100.0 * t}, {"energy_j": 7.0 * t}]}
        for t in range(3)
    )
    samples = Samples(header=header, rows=rows, footer={})
    machine = installed(header)

    def energy_of(device: str | None, **variables: str) -> tuple[float | None, str]:
        found = summary(samples, start=0.0, end=2.0, used=used_devices(device, machine, variables))
        (metric,) = [one for one in resource_metrics(found, cpus=1.0) if one.name == "energy_j"]
        return metric.value, metric.reason

    assert energy_of("cpu") == (20.0, "covers package (the whole machine's)")
    assert energy_of("cuda:0") == (220.0, "covers package (the whole machine's), gpu0")
    assert energy_of("cuda:0", CUDA_VISIBLE_DEVICES="GPU-1b") == (34.0, "covers package (the whole machine's), gpu1")
    value, reason = energy_of(None)
    assert value == 234.0
    assert reason.startswith("covers package (the whole machine's), gpu0, gpu1; energy of every GPU of the machine: ")
    parts = summary(samples, used=used_devices("cpu", machine, {}))["energy"]["parts"]
    assert [part["counted"] for part in parts] == [True, False, False], "what was not counted stays in the record"
