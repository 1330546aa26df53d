"""8-bit integers: weights quantized once, activations as they come; embeddings stay fp32."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmbench.base.seams import Bound, Compression
from lmbench.compress.level import Level
from lmbench.compress.options import only

INT8 = Bound(kl_max=0.15, top1_min=0.80, perplexity_ratio_max=1.15)
LINEAGE = {
    "method": "int8-dynamic",
    "weights": "int8, symmetric, one scale per output channel",
    "activations": "int8, quantized at run time (module: symmetric per token; graph: asymmetric uint8 per tensor)",
    "embedding": "fp32",
    "tied_head": "untied: the head is an int8 copy, the embedding stays fp32",
}


def build_int8_dynamic(options: Mapping[str, Any]) -> Compression:
    """The level 'int8-dynamic'; takes no options.

    Modules go through torchao (Linear layers only), graphs through ONNX Runtime's dynamic quantizer (MatMul and
    Gemm with constant weights). Recurrent cells have no Linear layers inside and stay fp32.
    """
    only("int8-dynamic", options)
    return Level(name="int8-dynamic", lineage=LINEAGE, bound=INT8, change_module=_quantize_module, change_graph=_quantize_graph)


def _quantize_module(module: Any) -> Any:
    with _quiet():
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        smaller = copy.deepcopy(module)
        # set_inductor_config would change the settings of torch.compile for the whole process.
        quantize_(smaller, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return smaller


def _quantize_graph(path: Path, folder: Path) -> Path:
    with _quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        target = folder / path.name
        # Per channel: one scale per tensor loses several times as much on trained weights. Unsigned: without VNNI,
        # signed weights saturate the 16-bit sums of ONNX Runtime's x86 kernels and the result is wrong, not just rounded.
        kinds = ["MatMul", "Gemm"]
        quantize_dynamic(path, target, op_types_to_quantize=kinds, per_channel=True, weight_type=QuantType.QUInt8)
    return target


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' import-time warnings (optional CUDA kernels not found, ...) off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
