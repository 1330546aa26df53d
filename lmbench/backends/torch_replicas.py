"""Data-parallel training with PyTorch: one of several processes that hold copies of a model and average their gradients."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from lmbench.backends.torch_eager import Settings
from lmbench.backends.torch_training import Recipe, TorchTrainer, read
from lmbench.base.seams import Compression, IntArray, LanguageModel, Replica

PLACE = ("meeting", "processes", "rank")
EXCHANGE_TIMEOUT = timedelta(seconds=120)
"""A process whose gradients do not come by then is taken for dead."""
ON_LOOPBACK = "lo"


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Replica:
    """A trainable copy of the model that steps together with `processes` - 1 others (DistributedDataParallel).

    Options: those of the trainer, `rank` and `processes`, and `meeting`, the path of a file that does not exist yet and that all
    of them name: there they find each other. Gradients go over gloo on the loopback interface, on CUDA devices over NCCL.
    """
    recipe, settings = read("torch", method, {key: value for key, value in options.items() if key not in PLACE})
    meet(Path(options["meeting"]), rank=int(options["rank"]), processes=int(options["processes"]), device=settings.device)
    return ReplicaTrainer(model=model, recipe=recipe, settings=settings)


def meet(meeting: Path, *, rank: int, processes: int, device: str) -> None:
    """Wait for the other processes."""
    if device != "cpu":
        torch.cuda.set_device(device)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", ON_LOOPBACK)
    distributed.init_process_group(
        "gloo" if device == "cpu" else "nccl",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=processes,
        timeout=EXCHANGE_TIMEOUT,
    )


class ReplicaTrainer(TorchTrainer):
    """A trainer whose gradients are the mean of all processes' before the optimizer sees them."""

    def __init__(self, *, model: LanguageModel, recipe: Recipe, settings: Settings) -> None:
        super().__init__(model=model, recipe=recipe, settings=settings, compiled=False)
        self._call = torch.nn.parallel.DistributedDataParallel(
            self._module,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            # Where a batch does not lead to all weights, those without a gradient must be looked for.
            find_unused_parameters=not model.facts.reads_all_weights,
        )

    def loss(self, ids: IntArray, targets: IntArray) -> float:
        """Mean loss in nats of this copy alone; the others need not ask."""
        together, self._call = self._call, self._module
        try:
            return super().loss(ids, targets)
        finally:
            self._call = together

    def digest(self) -> str:
        """Of all weights as they are now."""
        found = hashlib.sha256()
        for parameter in self._module.parameters():
            found.update(parameter.detach().cpu().numpy().tobytes())
        return found.hexdigest()

    def describe(self) -> Mapping[str, object]:
        """JSON facts, with how the processes exchange gradients."""
        return {**super().describe(), "processes": distributed.get_world_size(), "exchange": distributed.get_backend()}

    def close(self) -> None:
        """Leave the others."""
        super().close()
        distributed.destroy_process_group()
