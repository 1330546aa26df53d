"""Modules whose Linear layers XNNPACK multiplies in integers, by torchao; embeddings, norms and recurrent cells stay fp32.

XNNPACK has no kernels for integer weights with float activations: whatever it quantizes, activations become int8 as they come.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lmbench.base.errors import SubjectError
from lmbench.compress.quiet import quiet


def int8_dynamic(module: Any) -> Any:
    """Weights int8, symmetric, one scale per output; activations int8, asymmetric, one scale per token."""
    import torch

    with quiet():
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis

        config = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
        return _quantized(module, config, lambda inputs: inputs > 0)


def int4_weights(module: Any, group_size: int) -> Any:
    """Weights int4, symmetric, one scale per group of inputs; activations int8, asymmetric, one scale per token.

    A layer whose number of inputs is no multiple of `group_size` stays fp32.
    """
    import torch

    with quiet():
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerGroup
        from torchao.quantization.quant_primitives import MappingType

        config = Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4,  # type: ignore[attr-defined]
            weight_granularity=PerGroup(group_size),
            # -8 to 7 has two sides: the default's one scale of 7.5 steps for both cuts off the largest weights above zero.
            weight_mapping_type=MappingType.SYMMETRIC_NO_CLIPPING_ERR,
        )
        return _quantized(module, config, lambda inputs: inputs % group_size == 0)


def _quantized(module: Any, config: Any, fits: Callable[[int], bool]) -> Any:
    """A copy with other weights in those Linear layers whose number of inputs fits; SubjectError when there is none."""
    from torch import nn
    from torchao.quantization import quantize_

    smaller = copy.deepcopy(module)
    layers = {id(layer) for layer in smaller.modules() if isinstance(layer, nn.Linear) and fits(layer.in_features)}
    if not layers:
        found = f"no Linear layer in {type(module).__name__} that {type(config).__name__} can quantize"
        raise SubjectError(f"found {found}; expected at least one; drop this cell")
    quantize_(smaller, config, filter_fn=lambda layer, _: id(layer) in layers)
    return smaller
