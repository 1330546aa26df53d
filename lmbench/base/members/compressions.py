"""Every compression method."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, MODULE, PORTABLE, Entry

MEMBERS: Mapping[str, Entry] = {
    "none": Entry(
        options="lmbench.suite.options:NoOptions",
        target="lmbench.compress.none:build",
        about="as built, in fp32",
        takes=("module", "onnx", "fake", ENDPOINT),
    ),
    "bf16": Entry(
        options="lmbench.suite.options:NoOptions",
        target="lmbench.compress.precision:build_bf16",
        about="weights and arithmetic in bfloat16",
        takes=("module",),
        ways=(MODULE,),
    ),
    "int8-dynamic": Entry(
        options="lmbench.suite.options:NoOptions",
        target="lmbench.compress.quantize:build_int8_dynamic",
        about="int8 weights, activations quantized as they come",
        takes=("module", "onnx"),
        ways=(MODULE, "onnx"),
    ),
    "prune-magnitude": Entry(
        options="lmbench.suite.options:PruneOptions",
        target="lmbench.compress.prune:build_magnitude",
        about="the smallest weights set to zero, unstructured, at a given sparsity",
        takes=("module",),
        ways=(PORTABLE,),
    ),
}
