"""Every compression method."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, MODULE, PORTABLE, Entry
from lmbench.base.members.needs import TOKENIZERS, TORCH

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
    "distil": Entry(
        options="lmbench.suite.options:DistilOptions",
        target="lmbench.compress.distil:build",
        about="a smaller model trained to answer as this one, in its place",
        needs=(TORCH, TOKENIZERS),
        takes=("module",),
        ways=(PORTABLE,),
    ),
    "chain": Entry(
        options="lmbench.suite.options:ChainOptions",
        target="lmbench.compress.chain:build",
        about="several levels, one after the other",
        takes=("module", "onnx"),
    ),
    "prune-magnitude": Entry(
        options="lmbench.suite.options:PruneOptions",
        target="lmbench.compress.prune:build_magnitude",
        about="the smallest weights set to zero, unstructured, at a given sparsity",
        takes=("module",),
        ways=(PORTABLE,),
    ),
}
