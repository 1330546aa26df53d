"""PyTorch through torch.compile (inductor), for any sequence length, without a recompilation per decode step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from lmbench.backends.torch_eager import Settings, TorchEngine, placed, read_settings
from lmbench.base.cache import cache_root
from lmbench.base.seams import Compression, Engine, LanguageModel

NAME = "torch-compile"
GRAPH_LIMIT = 64
"""More graphs than sizes of 0, 1 and many can make out of batch, tokens, positions and past."""


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level, compiled when first called. Options: `threads` (a count), `device` (cpu, cuda or cuda:N).

    torch makes a graph of its own for sizes 0 and 1, so an empty past, a single token and a batch of one each cost a
    compilation once; from a past of 2 tokens on, all decode steps share one graph.
    """
    settings = read_settings(NAME, options)
    prepare_compiler()
    module = placed(model.module, settings)
    return CompiledEngine(model=model, method=method, module=module, settings=settings)


def prepare_compiler() -> None:
    """Point inductor at a lasting cache, and make running out of graphs an error instead of a silent eager fallback."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_root() / "inductor"))
    import torch._dynamo
    import torch.fx.experimental._config as symbols

    torch._dynamo.config.recompile_limit = GRAPH_LIMIT
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    # Otherwise two sizes that happen to be equal (a batch of 2 and 2 heads) are taken for one, and differ later.
    symbols.use_duck_shape = False


class GraphCounter:
    """Inductor as a torch.compile backend that counts the graphs it is given; 0 means everything still runs eager."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, examples: list[torch.Tensor]) -> Callable[..., Any]:
        from torch._inductor.compile_fx import compile_fx

        compiled = cast("Callable[..., Any]", compile_fx(graph, examples))
        # Not counted before: torch may abandon a graph halfway and start over.
        self.graphs += 1
        return compiled


class CompiledEngine(TorchEngine):
    """A compiled torch module that answers."""

    name = NAME

    def __init__(self, *, model: LanguageModel, method: Compression, module: torch.nn.Module, settings: Settings) -> None:
        self._counter = GraphCounter()
        call = torch.compile(_evenly_laid_out(module), dynamic=True, backend=self._counter)
        super().__init__(model=model, method=method, module=module, call=call, settings=settings)

    def describe(self) -> Mapping[str, object]:
        """JSON facts; `graphs` is the number of graphs compiled so far."""
        return {**super().describe(), "graphs": self._counter.graphs}


def _evenly_laid_out(module: torch.nn.Module) -> Callable[..., tuple[torch.Tensor, ...]]:
    """The module with its state contiguous: the layout a prefill happens to leave would cost a graph of its own."""

    def call(ids: torch.Tensor, positions: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, *after = module(ids, positions, *state)
        return (logits, *(part.contiguous() for part in after))

    return call
