"""ONNX files in other number types, by ONNX Runtime's own tools; integers are for products with constant matrices only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.errors import SubjectError
from lmbench.base.scratch import scratch
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.base.threads import thread_budget
from lmbench.compress.quiet import quiet

EXTERNAL_DATA_BYTES = 1 << 30
"""Above this the weights go into a file of their own; a protobuf ends at 2 GiB."""
INT8_BLOCK = 64
"""Inputs of an output that share a scale in int8 weights."""
FP32_PRODUCTS = 1
"""MatMulNBits' accuracy_level: weights are brought back to fp32 to be multiplied. At level 4, the fastest, ONNX Runtime would
quantize the activations to int8 too."""
Feed = dict[str, Any]


def int8_weights(model: LanguageModel, path: Path, folder: Path) -> Path:
    """MatMulNBits: int8 weights, symmetric, a scale for each INT8_BLOCK inputs of an output; products in fp32."""
    del model
    return _fewer_bits(path, folder, bits=8, block=INT8_BLOCK)


def int4_weights(model: LanguageModel, path: Path, folder: Path, group_size: int) -> Path:
    """MatMulNBits: int4 weights, asymmetric, a scale and a zero for each `group_size` inputs of an output; products in fp32."""
    del model
    return _fewer_bits(path, folder, bits=4, block=group_size)


def int8_dynamic(model: LanguageModel, path: Path, folder: Path) -> Path:
    """MatMulInteger: uint8 weights, a scale for each output; activations uint8, one scale per tensor, taken as they come."""
    del model
    with quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        graph, target = _with_products(path), folder / path.name
        # Unsigned: without VNNI, signed weights saturate the 16-bit sums of ONNX Runtime's x86 kernels, and the result is
        # wrong, not just rounded. Per channel: one scale per weight matrix loses several times as much.
        quantize_dynamic(
            graph,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=_expanding(graph),
            per_channel=True,
            weight_type=QuantType.QUInt8,
            use_external_data_format=_is_large(path),
        )
    return target


def int8_static(model: LanguageModel, path: Path, folder: Path, ids: IntArray, method: str) -> Path:
    """QDQ: as `int8_dynamic`, but the scale of each activation is fixed, from what it is on `ids` [N, T].

    `method` 'minmax': its whole range there. 'entropy': the range whose 8-bit histogram is closest to that of the values by KL
    divergence (Migacz 2017, "8-bit Inference with TensorRT", GTC); what lies outside is clipped.
    """
    methods = {"minmax": "MinMax", "entropy": "Entropy"}
    with quiet(), scratch("onnx") as beside:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        ready, target = beside / path.name, folder / path.name
        # Symbolic inference fails on many graphs with a cache; element types, all that is needed here, ONNX's own infers.
        quant_pre_process(path, ready, skip_optimization=True, skip_symbolic_shape=True, save_as_external_data=_is_large(path))
        graph = _with_products(ready)
        quantize_static(
            graph,
            target,
            _Reader(_feeds(model, path, ids), len(ids) * len(_pieces(model, ids[0]))),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=_expanding(graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
            use_external_data_format=_is_large(path),
            calibrate_method=CalibrationMethod[methods[method]],
            # A range for every feed, merged: all outputs of all of them would not fit into memory. Products stay fp32: only
            # what enters the next one is rounded.
            extra_options={"CalibStridedMinMax": 1, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
    return target


def _fewer_bits(path: Path, folder: Path, *, bits: int, block: int) -> Path:
    with quiet():
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

        config = DefaultWeightOnlyQuantConfig(bits=bits, block_size=block, is_symmetric=bits == 8, accuracy_level=FP32_PRODUCTS)
        quantizer = MatMulNBitsQuantizer(_with_products(path), algo_config=config)
        quantizer.process()
        quantizer.model.save_model_to_file(folder / path.name, _is_large(path))
    return folder / path.name


class _Reader:
    """Feeds in the strides that ONNX Runtime's calibration asks for (its CalibrationDataReader, by shape)."""

    def __init__(self, feeds: Iterator[Feed], count: int) -> None:
        self._feeds, self._count, self._left = feeds, count, count

    def __len__(self) -> int:
        return self._count

    def set_range(self, start_index: int, end_index: int) -> None:
        """Let the next `end_index` - `start_index` feeds out; strides follow each other."""
        self._left = end_index - start_index

    def get_next(self) -> Feed | None:
        """The next feed, None at the end of the stride."""
        self._left -= 1
        return next(self._feeds) if self._left >= 0 else None


def _feeds(model: LanguageModel, path: Path, ids: IntArray) -> Iterator[Feed]:
    """Inputs of the fp32 graph for each piece of each row of `ids`, with the state that the pieces before it have left."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = thread_budget().threads
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    for row in ids:
        state = [np.asarray(part) for part in model.empty_state(1)]
        for piece in _pieces(model, row):
            # A graph of ids alone has no further names.
            feed = dict(zip(names, [piece[None], np.arange(len(piece)), *state], strict=False))
            yield feed
            _, *state = session.run(None, feed)


def _pieces(model: LanguageModel, row: IntArray) -> tuple[IntArray, ...]:
    """A prompt and one decode step after it, so that what a state brings in is seen; without a state the whole row [T]."""
    return (row[:-1], row[-1:]) if model.facts.carries_state else (row,)


def _loaded(path: Path) -> Any:
    """The model, without the shapes and types that torch writes down for its weights: the tools change weights, not those."""
    import onnx

    model = onnx.load(path)
    weights = {weight.name for weight in model.graph.initializer}
    told = [info for info in model.graph.value_info if info.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(told)
    return model


def _with_products(path: Path) -> Any:
    """The model with MatMul and Add for each Gemm, as MatMul is what is quantized; SubjectError when there is nothing to."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = _loaded(path)
    weights = {weight.name: weight for weight in model.graph.initializer}
    users = Counter(name for node in model.graph.node for name in node.input)
    for node in model.graph.node:
        if node.op_type == "Gemm" and users[node.input[1]] > 1 and node.input[1] in weights:
            # It will be transposed in place, which its other users, such as a tied embedding, must not see.
            own = model.graph.initializer.add()
            own.CopyFrom(weights[node.input[1]])
            own.name = node.input[1] = f"{node.input[1]}_of_{node.name}"
    ONNXModel(model).replace_gemm_with_matmul()
    if not _matrices(model):
        raise SubjectError(
            f"found no product with a constant matrix in {path}; expected at least one to quantize; drop this cell"
        )
    return model


def _matrices(model: Any) -> dict[str, tuple[int, int]]:
    """MatMul nodes whose second input is a constant matrix: name -> (inputs, outputs)."""
    sizes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    products = {node.name: sizes.get(node.input[1], ()) for node in model.graph.node if node.op_type == "MatMul"}
    return {name: (size[0], size[1]) for name, size in products.items() if len(size) == 2}


def _expanding(model: Any) -> list[str]:
    """Names of MatMul nodes with a constant matrix of no more inputs than outputs: those whose activations may be 8 bits.

    What enters the others, such as an MLP's second projection (products of gates in trained models), holds a few values
    hundreds of times larger than the rest; with one scale per tensor everything else would round to nothing (SmolLM2-135M:
    perplexity 1.8 times the parent's). Keys and values of grouped-query attention fall under the same rule; they are small.
    Where all matrices contract, as the head of a recurrent model of few characters does, there is no such block to spare.
    """
    matrices = _matrices(model)
    return [name for name, (inputs, outputs) in matrices.items() if inputs <= outputs] or [*matrices]


def _is_large(path: Path) -> bool:
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")) > EXTERNAL_DATA_BYTES
