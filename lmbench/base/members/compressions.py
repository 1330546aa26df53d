"""Every compression method."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, MODULE, PORTABLE, Entry
from lmbench.base.members.needs import TOKENIZERS, TORCH, TORCHAO

MEMBERS: Mapping[str, Entry] = {
    "none": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.none:build",
        bits=32,
        about="as built, in fp32",
        takes=("module", "onnx", "fake", ENDPOINT),
    ),
    "bf16": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.precision:build_bf16",
        bits=16,
        about="weights and arithmetic in bfloat16",
        takes=("module",),
        ways=(MODULE, "aoti", "openvino", "gguf"),
    ),
    "fp16": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.precision:build_fp16",
        bits=16,
        about="weights in float16, arithmetic too where the engine has it",
        needs=(TORCH,),
        takes=("module",),
        ways=(MODULE, "aoti", "onnx", "openvino", "gguf"),
    ),
    "bf16-autocast": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.precision:build_bf16_autocast",
        bits=32,
        about="fp32 weights, cast to bfloat16 for each product",
        needs=(TORCH,),
        takes=("module",),
        ways=(MODULE,),
    ),
    "fp8-weight-only": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.precision:build_fp8_weight_only",
        bits=8,
        about="weights in float8 (e4m3), arithmetic in fp32",
        needs=(TORCH, TORCHAO),
        takes=("module",),
        ways=(MODULE,),
    ),
    "int8-dynamic": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.quantize:build_int8_dynamic",
        bits=8,
        about="int8 weights, activations quantized as they come",
        takes=("module", "onnx"),
        ways=(MODULE, "onnx", "openvino", "tflite", "executorch"),
    ),
    "int8-weight-only": Entry(
        options="lmbench.suite.engine_options:NoOptions",
        target="lmbench.compress.weight_only:build_int8",
        bits=8,
        about="int8 weights, activations in floating point",
        takes=("module", "onnx"),
        ways=(MODULE, "onnx", "openvino", "tflite", "gguf"),
    ),
    "int4-weight-only": Entry(
        options="lmbench.suite.engine_options:GroupOptions",
        target="lmbench.compress.weight_only:build_int4",
        bits=4,
        about="int4 weights by groups, activations in floating point",
        takes=("module", "onnx"),
        ways=(MODULE, "onnx", "openvino", "tflite", "gguf", "executorch"),
    ),
    "int8-static": Entry(
        options="lmbench.suite.engine_options:StaticOptions",
        target="lmbench.compress.static:build",
        bits=8,
        about="int8 weights and activations, scales fixed by calibration on real text",
        takes=("module", "onnx"),
        ways=("onnx", "openvino", "tflite"),
    ),
    "distil": Entry(
        options="lmbench.suite.engine_options:DistilOptions",
        target="lmbench.compress.distil:build",
        about="a smaller model trained to answer as this one, in its place",
        needs=(TORCH, TOKENIZERS),
        takes=("module",),
        ways=(PORTABLE,),
    ),
    "chain": Entry(
        options="lmbench.suite.engine_options:ChainOptions",
        target="lmbench.compress.chain:build",
        about="several levels, one after the other",
        takes=("module", "onnx"),
    ),
    "prune-magnitude": Entry(
        options="lmbench.suite.engine_options:PruneOptions",
        target="lmbench.compress.prune:build_magnitude",
        bits=32,
        about="the smallest weights set to zero, unstructured, at a given sparsity",
        takes=("module",),
        ways=(PORTABLE,),
    ),
    "prune-layerwise": Entry(
        options="lmbench.suite.engine_options:PruneOptions",
        target="lmbench.compress.prune:build_layerwise",
        bits=32,
        about="the smallest weights of each layer set to zero, at a given sparsity",
        takes=("module",),
        ways=(PORTABLE,),
    ),
    "prune-threshold": Entry(
        options="lmbench.suite.engine_options:ThresholdOptions",
        target="lmbench.compress.prune:build_threshold",
        bits=32,
        about="weights below a threshold set to zero",
        takes=("module",),
        ways=(PORTABLE,),
    ),
    "prune-2-4": Entry(
        options="lmbench.suite.engine_options:FineTuneOptions",
        target="lmbench.compress.prune:build_two_of_four",
        bits=32,
        about="two of every four consecutive weights set to zero",
        takes=("module",),
        ways=(PORTABLE,),
    ),
    "prune-structured": Entry(
        options="lmbench.suite.engine_options:StructuredOptions",
        target="lmbench.compress.structured:build",
        about="attention heads and MLP neurons taken out of a Transformer",
        needs=(TORCH,),
        takes=("module",),
        ways=(PORTABLE,),
    ),
}
