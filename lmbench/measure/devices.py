"""Which GPUs of a machine a case used: what its engine says, through CUDA_VISIBLE_DEVICES, to the numbers that NVML counts in.

CUDA numbers the visible devices anew; NVML numbers all of them by their place on the bus. (CUDA C++ Programming Guide,
environment variables: CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ON_CPU = "cpu"
BY_BUS = "PCI_BUS_ID"
NODE = "energy of every GPU of the machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedDevices:
    """NVML's numbers of the devices used; None: not known, and `note` says why. `note` may also qualify what is known."""

    indices: frozenset[int] | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One device of the machine, in NVML's order."""

    name: str | None
    uuid: str | None = None
    slices: tuple[str, ...] = ()
    """UUIDs of its MIG instances."""


def installed(header: Mapping[str, Any]) -> list[Installed]:
    """The devices in a sampler's header, also in one that has no UUIDs."""
    facts, ids = header.get("devices") or (), header.get("device_ids") or ()
    found = []
    for index, fact in enumerate(facts):
        own = ids[index] if index < len(ids) else {}
        found.append(Installed(name=fact.get("name"), uuid=own.get("uuid"), slices=tuple(own.get("slices") or ())))
    return found


def used_devices(
    device: str | None, machine: Sequence[Installed], variables: Mapping[str, str], processes: int = 1
) -> UsedDevices:
    """The devices behind an engine's `device`: 'cpu', 'cuda', 'cuda:1', or the name of the GPU that CUDA counts first.

    Of several processes each has the next one.
    """
    if device == ON_CPU or not machine:
        return UsedDevices(indices=frozenset())
    named = device is not None and device in [one.name for one in machine]
    kind, _, number = ("cuda" if named else device or "").partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        return UsedDevices(indices=None, note=f"{NODE}: the engine does not say which it used")
    first = int(number or 0)
    names = _visible(machine, variables)
    if isinstance(names, str):
        return UsedDevices(indices=None, note=f"{NODE}: {names}")
    if first + processes > len(names):
        return UsedDevices(indices=None, note=f"{NODE}: {device} is not among the {len(names)} that CUDA_VISIBLE_DEVICES names")
    wanted = frozenset(names[first : first + processes])
    sliced = sorted(index for index in wanted if machine[index].slices)
    shared = ", ".join(f"gpu{index}" for index in sliced)
    return UsedDevices(indices=wanted, note=f"{shared} is split into MIG instances: energy of the whole GPU" if sliced else "")


def _visible(machine: Sequence[Installed], variables: Mapping[str, str]) -> list[int] | str:
    """NVML's numbers in the order in which CUDA counts the devices, or why that is not known."""
    text = variables.get("CUDA_VISIBLE_DEVICES")
    ordered = len({one.name for one in machine}) == 1 or variables.get("CUDA_DEVICE_ORDER") == BY_BUS
    unordered = f"the GPUs differ, and CUDA numbers them in an order of its own unless CUDA_DEVICE_ORDER={BY_BUS}"
    if text is None:
        return list(range(len(machine))) if ordered or len(machine) == 1 else unordered
    found: list[int] = []
    for word in (part.strip() for part in text.split(",")):
        place = int(word) if word.isdecimal() else _named(word, machine)
        if place is None or place >= len(machine):
            break  # CUDA sees none of those after one that it does not know
        if word.isdecimal() and not ordered:
            return unordered
        found.append(place)
    return found


def _named(word: str, machine: Sequence[Installed]) -> int | None:
    """The device of a UUID, of the beginning of one, or of a MIG instance, by either form of its name."""
    parent = f"GPU-{word.removeprefix('MIG-GPU-').partition('/')[0]}" if word.startswith("MIG-GPU-") else word
    if not parent.startswith(("GPU-", "MIG-")):
        return None
    fit = [
        index
        for index, one in enumerate(machine)
        if (one.uuid or "").startswith(parent) or any(part.startswith(word) for part in one.slices)
    ]
    return fit[0] if len(fit) == 1 else None
