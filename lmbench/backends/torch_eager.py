"""PyTorch as it is, one operator at a time; the reference every other engine is compared with."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lmbench.backends.options import compute_threads, only, problem
from lmbench.backends.torch_weights import disk_bytes, float_dtype, weight_bytes, zero_share
from lmbench.base.errors import ConfigError, Unavailable
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = "torch"
DEVICE = re.compile(r"cpu|cuda(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how wide a torch engine runs."""

    device: str
    threads: int


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level, eager. Options: `threads` (a count), `device` (cpu, cuda or cuda:N)."""
    settings = read_settings(NAME, options)
    module = placed(model.module, settings)
    return TorchEngine(model=model, method=method, module=module, call=module, settings=settings)


def read_settings(backend: str, options: Mapping[str, Any]) -> Settings:
    """Options as settings; ConfigError for unknown ones, Unavailable without the device."""
    only(backend, options, ["device", "threads"])
    device = options.get("device", "cpu")
    if not isinstance(device, str) or not DEVICE.fullmatch(device):
        raise ConfigError([problem(backend, "device", repr(device), "cpu, cuda or cuda:N")])
    if device != "cpu":
        _require_cuda(device)
    return Settings(device=device, threads=compute_threads(backend, options))


def _require_cuda(device: str) -> None:
    if not torch.cuda.is_available():
        reason = f"torch {torch.__version__} finds no CUDA device"
        raise Unavailable(reason, "use device: cpu, or install a CUDA build of torch on a machine with an NVIDIA driver")
    found, asked = torch.cuda.device_count(), torch.device(device).index or 0
    if asked >= found:
        raise Unavailable(f"found {found} CUDA devices, no {device}", f"use one of cuda:0 to cuda:{found - 1}")


def placed(module: torch.nn.Module, settings: Settings) -> torch.nn.Module:
    """The module on its device and in evaluation mode; copied first when either would change the caller's."""
    if settings.device == "cpu" and not module.training:
        return module
    return copy.deepcopy(module).to(settings.device).eval()


class TorchEngine:
    """A torch module that answers; `call` is what runs (the module itself, or its compiled form)."""

    name = NAME

    def __init__(
        self,
        *,
        model: LanguageModel,
        method: Compression,
        module: torch.nn.Module,
        call: Callable[..., tuple[torch.Tensor, ...]],
        settings: Settings,
    ) -> None:
        self._model = model
        self._sparse = method.sparse
        self._module: torch.nn.Module | None = module
        self._call = call
        self._device = torch.device(settings.device)
        self._dtype = float_dtype(module)
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(settings.threads)

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; the logits arrive on the host as float32, which waits for the device."""
        with torch.inference_mode():
            logits, *after = self._call(self._tensor(ids), self._tensor(positions), *state)
            return logits.float().cpu().numpy(), tuple(after)

    def empty_state(self, batch: int) -> State:
        """The model's empty state on this device, floating-point parts in the module's type."""
        # Inside inference mode, so that a compiled engine sees the same kind of tensor as in every later state.
        with torch.inference_mode():
            return tuple(
                part.to(self._device, self._dtype if part.is_floating_point() else part.dtype)
                for part in self._model.empty_state(batch)
            )

    def describe(self) -> Mapping[str, object]:
        """JSON facts; `zero_share` (of all parameters) only for levels that declare a sparsity."""
        assert self._module is not None, "described after close"  # noqa: S101
        dtype = str(self._dtype).removeprefix("torch.")
        facts: dict[str, object] = {
            "engine": self.name,
            "version": torch.__version__,
            "device": str(self._device),
            "threads": torch.get_num_threads(),
            "dtype": dtype,
            "state_dtype": dtype,
            "weight_bytes": weight_bytes(self._module),
            "disk_bytes": disk_bytes(self._module),
        }
        return facts | {"zero_share": zero_share(self._module)} if self._sparse else facts

    def close(self) -> None:
        """Let go of the weights and give torch its former number of threads back."""
        self._module = None
        self._call = _closed
        torch.set_num_threads(self._threads_before)

    def _tensor(self, array: IntArray) -> torch.Tensor:
        # Flat and viewed: torch keeps numpy's strides, which are arbitrary for sizes of 1, and a compiled engine would
        # make a graph for each kind it meets.
        return torch.tensor(array.ravel(), device=self._device).view(array.shape)


def _closed(*_: object) -> tuple[torch.Tensor, ...]:
    raise RuntimeError("forward was called on an engine that is closed")
