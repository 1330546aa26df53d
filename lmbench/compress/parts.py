"""What can be taken out of a Transformer's module as a whole: groups of attention heads, neurons of MLPs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = (("query", "key", "value", "output"), ("q_proj", "k_proj", "v_proj", "o_proj"))
MLP = (("gate", "up", "down"), ("gate_proj", "up_proj", "down_proj"))
"""What the Linear layers of an attention and of an MLP are called: in this project, in models built like Llama. A gate may
lack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The units of one attention or MLP. Unit i of `count` has the i-th of as many equal pieces of the outputs of each layer
    in `into`, and of the inputs of `out`.
    """

    part: nn.Module
    count: int
    into: tuple[nn.Linear, ...]
    out: nn.Linear
    written: Mapping[str, int]
    """Names under which a part, a configuration or a model's details have their number, and how many a unit counts for there."""
    implied: Mapping[str, int] = field(default_factory=dict)
    """What a configuration need not say while it follows from those numbers."""

    @property
    def weights(self) -> int:
        """Weights of all layers, without biases."""
        return sum(layer.weight.numel() for layer in (*self.into, self.out))

    def norms(self) -> Tensor:
        """The Euclidean norm [count] of all weights that belong to a unit (Li et al. 2017, arXiv:1608.08710, rank filters by a
        norm; Ma et al. 2023, arXiv:2305.11627, join what depends on each other).
        """
        pieces = [layer.weight.view(self.count, -1) for layer in self.into]
        norms: Tensor = torch.linalg.vector_norm(torch.cat([*pieces, self._outward().transpose(0, 1).flatten(1)], dim=1), dim=1)
        return norms

    def silence(self, kept: Tensor) -> None:
        """Let the units other than `kept` (indices) contribute nothing."""
        gone = torch.ones(self.count, dtype=torch.bool)
        gone[kept] = False
        self._outward()[:, gone] = 0

    def keep(self, kept: Tensor) -> dict[str, tuple[int, int]]:
        """Take out all units but `kept` (indices, rising): name -> numbers before and after, as written down in the part."""
        for layer in self.into:
            rows = self._places(layer.out_features, kept)
            layer.weight, layer.out_features = nn.Parameter(layer.weight[rows]), len(rows)
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[rows])
        columns = self._places(self.out.in_features, kept)
        self.out.weight, self.out.in_features = nn.Parameter(self.out.weight[:, columns]), len(columns)
        return self._written(len(kept))

    def _written(self, after: int) -> dict[str, tuple[int, int]]:
        numbers = {name: (each * self.count, each * after) for name, each in self.written.items()}
        config = getattr(self.part, "config", None)
        for holder in (self.part, config):
            for name, (old, new) in numbers.items():
                if getattr(holder, name, None) == old:
                    setattr(holder, name, new)
        for name, value in self.implied.items():
            if config is not None and getattr(config, name, None) is None:
                setattr(config, name, value)
        return numbers

    def _outward(self) -> Tensor:
        return self.out.weight.view(self.out.out_features, self.count, -1)

    def _places(self, size: int, kept: Tensor) -> Tensor:
        return torch.arange(size).view(self.count, -1)[kept].flatten()


def attentions(module: nn.Module) -> Iterator[Units]:
    """Every attention, in order; its units are heads of keys and values, each with the heads of queries it serves."""
    for part in module.modules():
        for names in ATTENTION:
            found = [getattr(part, name, None) for name in names]
            query, key, value, output = (layer if isinstance(layer, nn.Linear) else None for layer in found)
            if query and key and value and output:
                size = _head_size(part, query)
                each = query.out_features // key.out_features
                yield Units(
                    part=part,
                    count=key.out_features // size,
                    into=(query, key, value),
                    out=output,
                    written={"heads": each, "num_attention_heads": each, "kv_heads": 1, "num_key_value_heads": 1},
                    implied={"head_dim": size},
                )


def mlps(module: nn.Module) -> Iterator[Units]:
    """Every MLP, in order; its units are its hidden neurons."""
    for part in module.modules():
        for names in MLP:
            gate, up, down = (getattr(part, name, None) for name in names)
            if isinstance(up, nn.Linear) and isinstance(down, nn.Linear):
                into = (gate, up) if isinstance(gate, nn.Linear) else (up,)
                yield Units(part=part, count=up.out_features, into=into, out=down, written={"mlp": 1, "intermediate_size": 1})


def contributions(every: Sequence[Units], run: Callable[[], object]) -> list[Tensor]:
    """How much each unit adds while `run` runs the module, [count] for each of `every`.

    Wanda's measure of a weight, its size times the Euclidean norm of what it is multiplied with (Sun et al. 2023,
    arXiv:2306.11695), over all weights that lead out of a unit: the root of the sum of squares.
    """
    seen = [torch.zeros(units.out.in_features, dtype=torch.float64) for units in every]
    hooks = [units.out.register_forward_pre_hook(partial(_see, total)) for units, total in zip(every, seen, strict=True)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    columns = [total * units.out.weight.detach().square().sum(0) for units, total in zip(every, seen, strict=True)]
    return [squares.view(units.count, -1).sum(1).sqrt() for units, squares in zip(every, columns, strict=True)]


def _see(total: Tensor, layer: Any, inputs: tuple[Tensor, ...]) -> None:
    del layer
    total += inputs[0].detach().flatten(0, -2).double().square().sum(0)


def _head_size(part: nn.Module, query: nn.Linear) -> int:
    size = getattr(part, "head_size", None) or getattr(part, "head_dim", None)
    return int(size) if isinstance(size, int) else query.out_features // int(part.heads)  # type: ignore[arg-type]
