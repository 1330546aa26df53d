"""8-bit integers throughout: weights quantized once, activations as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.base.entry import MODULE
from lmbench.base.seams import Bound, Compression
from lmbench.compress import executorch_ways, onnx_ways, openvino_ways, tflite_ways, torchao_ways
from lmbench.compress.changed import by_module
from lmbench.compress.level import Level
from lmbench.compress.options import only
from lmbench.data.corpora import Corpus

INT8 = Bound(kl_max=0.15, top1_min=0.80, perplexity_ratio_max=1.15)
"""About twice what SmolLM2-135M loses: KL 0.07, agreement 0.86, perplexity ratio 1.03 (torch); 0.03, 0.91, 1.05 (graph)."""
LINEAGE = {
    "method": "int8-dynamic",
    "weights": "int8, symmetric, one scale per output channel (onnx: uint8)",
    "activations": "int8, quantized at run time, one scale per token (onnx: uint8, one per tensor; openvino: one per 32 inputs)",
    "embedding": "fp32 (openvino, tflite: int8 with the rest)",
    "kept": "onnx: fp32 where inputs outnumber outputs, and a head that shares the embedding's weight",
    "tied_head": "module: untied, an int8 copy beside the embedding",
    "products": "int8",
}


def build_int8_dynamic(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'int8-dynamic'; takes no options.

    Modules go through torchao (Linear layers only), graphs through ONNX Runtime's dynamic quantizer (MatMul with
    constant weights). Recurrent cells have no Linear layers inside and stay fp32. On CPUs without VNNI, torch multiplies
    int8 matrices with a plain loop: the torch engines are then many times slower at this level than in fp32.
    """
    del corpus, seed
    only("int8-dynamic", options)
    ways = {MODULE: torchao_ways.int8_dynamic, "executorch": executorch_ways.int8_dynamic}
    models = {form: by_module(way, LINEAGE) for form, way in ways.items()}
    files = {"onnx": onnx_ways.int8_dynamic, "openvino": openvino_ways.int8_dynamic, "tflite": tflite_ways.int8_dynamic}
    return Level(name="int8-dynamic", lineage=LINEAGE, bound=INT8, models=models, files=files)
