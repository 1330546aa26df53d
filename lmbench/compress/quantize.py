"""8-bit integers: weights quantized once, activations as they come; embeddings stay fp32."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmbench.base.entry import MODULE
from lmbench.base.seams import Bound, Compression, LanguageModel
from lmbench.compress.changed import by_module
from lmbench.compress.level import Level
from lmbench.compress.options import only
from lmbench.data.corpora import Corpus

EXTERNAL_DATA_BYTES = 1 << 30
"""Above this the weights go into a file of their own; a protobuf ends at 2 GiB."""
INT8 = Bound(kl_max=0.15, top1_min=0.80, perplexity_ratio_max=1.15)
"""About twice what SmolLM2-135M loses: KL 0.07, agreement 0.86, perplexity ratio 1.03 (torch); 0.03, 0.91, 1.05 (graph)."""
LINEAGE = {
    "method": "int8-dynamic",
    "weights": "int8, one scale per output channel (module: symmetric; graph: asymmetric uint8)",
    "activations": "int8, quantized at run time (module: symmetric, one scale per token; graph: uint8, one scale per tensor)",
    "kept_fp32": "embedding; graph: also layers with more inputs than outputs, and a head that shares the embedding's weight",
    "tied_head": "module: untied, an int8 copy beside the fp32 embedding",
}


def build_int8_dynamic(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'int8-dynamic'; takes no options.

    Modules go through torchao (Linear layers only), graphs through ONNX Runtime's dynamic quantizer (MatMul with
    constant weights). Recurrent cells have no Linear layers inside and stay fp32. On CPUs without VNNI, torch multiplies
    int8 matrices with a plain loop: the torch engines are then many times slower at this level than in fp32.
    """
    del corpus, seed
    only("int8-dynamic", options)
    change = by_module(_quantize_module, LINEAGE)
    return Level(name="int8-dynamic", lineage=LINEAGE, bound=INT8, models={MODULE: change}, files={"onnx": _quantize_graph})


def _quantize_module(module: Any) -> Any:
    with _quiet():
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        smaller = copy.deepcopy(module)
        # set_inductor_config would change the settings of torch.compile for the whole process.
        quantize_(smaller, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return smaller


def _quantize_graph(model: LanguageModel, path: Path, folder: Path) -> Path:
    del model
    with _quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        target = folder / path.name
        # Unsigned: without VNNI, signed weights saturate the 16-bit sums of ONNX Runtime's x86 kernels, and the result is
        # wrong, not just rounded. Per channel: one scale per weight matrix loses several times as much.
        quantize_dynamic(
            path,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=_contracting(path),
            per_channel=True,
            weight_type=QuantType.QUInt8,
            use_external_data_format=path.stat().st_size > EXTERNAL_DATA_BYTES,
        )
    return target


def _contracting(path: Path) -> list[str]:
    """Names of MatMul nodes whose constant weight has more inputs than outputs, such as an MLP's second projection.

    What enters that one (products of gates in trained models) holds a few values hundreds of times larger than the rest;
    with one scale per tensor everything else would round to nothing (SmolLM2-135M: perplexity 1.8 times the parent's).
    Keys and values of grouped-query attention fall under the same rule; they are small.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    sizes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    weights = {node.name: sizes.get(node.input[1], ()) for node in graph.node if node.op_type == "MatMul"}
    return [name for name, size in weights.items() if len(size) == 2 and size[0] > size[1]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' import-time warnings (optional CUDA kernels not found, ...) off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
