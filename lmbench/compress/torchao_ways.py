"""Modules whose Linear layers hold fewer bits, by torchao; embeddings, norms and recurrent cells stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lmbench.base.errors import SubjectError
from lmbench.compress.quiet import quiet

PACKED_OUTPUTS = 16
# Wherever it is taken, set_inductor_config=False: otherwise torchao changes torch.compile's settings for the whole process.


def int8_weights(module: Any) -> Any:
    """Weights int8, symmetric, one scale per output; multiplied in the type of the activations."""
    with quiet():
        from torchao.quantization import Int8WeightOnlyConfig

        return _quantized(module, Int8WeightOnlyConfig(set_inductor_config=False))


def int4_weights(module: Any, group_size: int) -> Any:
    """Weights int4, asymmetric, a scale and a zero for each group of inputs; everything else in bf16.

    torch's CPU kernel for packed int4 weights is made for bf16: with fp32 activations it takes fifty times as long. It packs 16
    outputs at a time: a layer with another number of them, or with inputs that are no multiple of the group, stays in bf16.
    """
    import torch

    def fits(layer: Any, _: str) -> bool:
        sizes = isinstance(layer, torch.nn.Linear) and (layer.out_features % PACKED_OUTPUTS, layer.in_features % group_size)
        return sizes == (0, 0)

    with quiet():
        # The other int4 layouts of torchao want CUDA or libraries beside it.
        from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

        lower = copy.deepcopy(module).to(torch.bfloat16)
        return _quantized(lower, PrototypeInt4WeightOnlyConfig(group_size=group_size, set_inductor_config=False), fits)


def int8_dynamic(module: Any) -> Any:
    """Weights int8, symmetric, one scale per output; activations int8, symmetric, one scale per token."""
    with quiet():
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig

        return _quantized(module, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))


def float8_weights(module: Any) -> Any:
    """Weights float8 (e4m3), one scale per output; multiplied in the type of the activations."""
    with quiet():
        from torchao.quantization import Float8WeightOnlyConfig

        return _quantized(module, Float8WeightOnlyConfig(set_inductor_config=False))


def _quantized(module: Any, config: Any, fits: Callable[[Any, str], bool] | None = None) -> Any:
    """A copy with other weights in all Linear layers that fit; SubjectError when there are none."""
    from torch import nn
    from torchao.quantization import quantize_
    from torchao.utils import TorchAOBaseTensor

    smaller = copy.deepcopy(module)
    quantize_(smaller, config, fits)
    layers = [layer for layer in smaller.modules() if isinstance(layer, nn.Linear)]
    if not any(isinstance(layer.weight, TorchAOBaseTensor) for layer in layers):
        found = f"{len(layers)} Linear layers in {type(module).__name__}, none of which {type(config).__name__} can quantize"
        raise SubjectError(f"found {found}; expected at least one; drop this cell")
    return smaller
