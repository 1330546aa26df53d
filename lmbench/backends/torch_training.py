"""Training with PyTorch, eager or compiled: AdamW on cross-entropy, fp32 or bf16 autocast, gradient accumulation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lmbench.backends.options import choice, count, only, problem
from lmbench.backends.torch_compiled import GraphCounter, prepare_compiler
from lmbench.backends.torch_eager import Settings, read_settings
from lmbench.backends.torch_weights import weight_bytes
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Compression, IntArray, LanguageModel, Trainer

OWN = ("accumulate", "learning_rate", "precision", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a step is made."""

    learning_rate: float
    precision: str
    accumulate: int
    seed: int


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Trainer:
    """A trainable copy of the model, eager.

    Options: `learning_rate` (> 0), `precision` ('fp32' or 'bf16-autocast'), `accumulate` (slices per step, 1),
    `seed` (of dropout, 0), and the engine's `threads` and `device`.
    """
    recipe, settings = read("torch", method, options)
    return TorchTrainer(model=model, recipe=recipe, settings=settings, compiled=False)


def load_compiled(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Trainer:
    """The same through torch.compile; options as for `load`. Forward and backward are compiled at the first step."""
    recipe, settings = read("torch-compile", method, options)
    prepare_compiler()
    return TorchTrainer(model=model, recipe=recipe, settings=settings, compiled=True)


def read(backend: str, method: Compression, options: Mapping[str, Any]) -> tuple[Recipe, Settings]:
    """Options as recipe and settings; ConfigError for unknown or impossible ones, SubjectError for a level other than none."""
    if method.name != "none":
        reason = f"{backend} trains fp32 weights (optionally under bf16 autocast), found compression {method.name!r}"
        raise SubjectError(f"{reason}; train with compression none, or exclude this cell")
    only(backend, options, [*OWN, "device", "threads"])
    rate = options.get("learning_rate", 3e-4)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e3:
        raise ConfigError([problem(backend, "learning_rate", repr(rate), "a number above 0")])
    recipe = Recipe(
        learning_rate=float(rate),
        precision=choice(backend, options, "precision", ("fp32", "bf16-autocast")),
        accumulate=count(backend, options, "accumulate") or 1,
        seed=int(options.get("seed", 0)),
    )
    return recipe, read_settings(backend, {key: value for key, value in options.items() if key not in OWN})


class TorchTrainer:
    """A deep copy of a model in training; the parent stays as it was."""

    def __init__(self, *, model: LanguageModel, recipe: Recipe, settings: Settings, compiled: bool) -> None:
        self._model = model
        self._recipe = recipe
        self._device = torch.device(settings.device)
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(settings.threads)
        torch.manual_seed(recipe.seed)
        self._module = copy.deepcopy(model.module).to(self._device).requires_grad_(True).train()
        self._counter = GraphCounter()
        self._call: Any = torch.compile(self._module, backend=self._counter) if compiled else self._module
        self._compiled = compiled
        self._optimizer = torch.optim.AdamW(self._module.parameters(), lr=recipe.learning_rate)
        self._stepped = False

    def step(self, ids: IntArray, targets: IntArray) -> tuple[float, float]:
        """One optimizer step on [accumulate * B, T], cut along the batch into `accumulate` slices of equal weight.

        Returns the mean loss before the step, in nats, and the L2 norm of the whole gradient. Gradients are kept until
        the next step, as their memory is part of what is measured.
        """
        slices = self._recipe.accumulate
        if ids.shape[0] % slices:
            raise SubjectError(f"a batch of {ids.shape[0]} sequences cannot be cut into {slices} equal slices (accumulate)")
        total, norm = self._backward(self._tensor(ids).chunk(slices), self._tensor(targets).chunk(slices))
        self._optimizer.step()
        self._stepped = True
        return total, norm

    def gradient(self, ids: IntArray, targets: IntArray) -> tuple[float, float]:
        """As `step` on [B, T], with dropout off and the weights untouched."""
        self._module.eval()
        found = self._backward((self._tensor(ids),), (self._tensor(targets),))
        self._module.train()
        return found

    def loss(self, ids: IntArray, targets: IntArray) -> float:
        """Mean loss in nats, dropout off, weights untouched.

        Gradients stay enabled, so that a compiled trainer answers with the graph it trains with.
        """
        self._module.eval()
        value = self._loss(self._tensor(ids), self._tensor(targets)).item()
        self._module.train()
        return value

    def describe(self) -> Mapping[str, object]:
        """JSON facts; gradient_bytes and optimizer_bytes are None before the first step."""
        return {
            "engine": "torch-compile" if self._compiled else "torch",
            "version": torch.__version__,
            "device": str(self._device),
            "threads": torch.get_num_threads(),
            "dtype": "float32",
            "precision": self._recipe.precision,
            "optimizer": "AdamW",
            "learning_rate": self._recipe.learning_rate,
            "accumulate": self._recipe.accumulate,
            "weight_bytes": weight_bytes(self._module),
            "parameter_bytes": sum(parameter.nbytes for parameter in self._module.parameters()),
            "gradient_bytes": self._gradient_bytes() if self._stepped else None,
            "optimizer_bytes": self._optimizer_bytes() if self._stepped else None,
            "graphs": self._counter.graphs if self._compiled else None,
        }

    def close(self) -> None:
        """Let go of weights, gradients and optimizer state; give torch its former number of threads back."""
        del self._call, self._optimizer, self._module
        torch.set_num_threads(self._threads_before)

    def _backward(self, ids: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> tuple[float, float]:
        """Mean loss in nats over slices of equal weight, and the L2 norm of its gradient, which is kept."""
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part, wanted in zip(ids, targets, strict=True):
            loss = self._loss(part, wanted) / len(ids)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._module.parameters() if p.grad is not None])
        return total, norm.item()

    def _loss(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        state = tuple(part.to(self._device) for part in self._model.empty_state(ids.shape[0]))
        positions = torch.arange(ids.shape[1], device=self._device)
        mixed = self._recipe.precision == "bf16-autocast"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=mixed):
            logits = self._call(ids, positions, *state)[0]
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def _tensor(self, ids: IntArray) -> torch.Tensor:
        return torch.tensor(ids, device=self._device)

    def _gradient_bytes(self) -> int:
        return sum(p.grad.nbytes for p in self._module.parameters() if p.grad is not None)

    def _optimizer_bytes(self) -> int:
        slots = (slot for slots in self._optimizer.state.values() for slot in slots.values())
        return sum(slot.nbytes for slot in slots if isinstance(slot, torch.Tensor))
