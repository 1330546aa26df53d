"""Weights in 8 or 4 bits, activations in floating point: smaller to keep and to read, computed as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError
from lmbench.base.seams import Bound, Compression
from lmbench.compress import executorch_ways, gguf_ways, onnx_ways, openvino_ways, tflite_ways, torchao_ways
from lmbench.compress.changed import by_module
from lmbench.compress.level import FileChange, Level
from lmbench.compress.options import only, problem
from lmbench.data.corpora import Corpus

INT8_MODULES: Mapping[str, Callable[[Any], Any]] = {MODULE: torchao_ways.int8_weights}
INT8_FILES: Mapping[str, FileChange] = {
    "onnx": onnx_ways.int8_weights,
    "openvino": openvino_ways.int8_weights,
    "tflite": tflite_ways.int8_weights,
    "gguf": gguf_ways.int8_weights,
}
INT4_MODULES: Mapping[str, Callable[..., Any]] = {
    MODULE: torchao_ways.int4_weights,
    "executorch": executorch_ways.int4_weights,
}
INT4_FILES: Mapping[str, Callable[..., Path]] = {
    "onnx": onnx_ways.int4_weights,
    "openvino": openvino_ways.int4_weights,
    "tflite": tflite_ways.int4_weights,
    "gguf": gguf_ways.int4_weights,
}
"""By form: the ways of the two levels; those with 4 bits take a `group_size` too."""
GROUP_SIZES = (32, 64, 128)
"""What all engines can take."""
INT8 = Bound(kl_max=0.011, top1_min=0.90, perplexity_ratio_max=1.01)
INT4 = Bound(kl_max=0.7, top1_min=0.5, perplexity_ratio_max=1.65)


def build_int8(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'int8-weight-only'; takes no options. Weights of Linear layers; recurrent cells have none inside."""
    del corpus, seed
    only("int8-weight-only", options)
    lineage = {
        "method": "int8-weight-only",
        "weights": f"int8, symmetric, one scale per output (onnx: for each {onnx_ways.INT8_BLOCK} inputs of it)",
        "activations": "fp32 (gguf: int8 as they come, within products)",
        "embedding": "fp32, and a head that shares it gets its own (openvino, tflite, gguf: int8 with the rest)",
    }
    models = {form: by_module(way, lineage) for form, way in INT8_MODULES.items()}
    return Level(name="int8-weight-only", lineage=lineage, bound=INT8, models=models, files=INT8_FILES)


def build_int4(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'int4-weight-only'; option `group_size`: inputs of an output that share a scale and a zero (32)."""
    del corpus, seed
    only("int4-weight-only", options, ["group_size"])
    group_size = options.get("group_size", GROUP_SIZES[0])
    if isinstance(group_size, bool) or group_size not in GROUP_SIZES:
        expected = f"one of {', '.join(map(str, GROUP_SIZES))}"
        raise ConfigError([problem("int4-weight-only", "group_size", repr(group_size), expected)])
    lineage = {
        "method": "int4-weight-only",
        "weights": "int4, a scale and a zero for each group of inputs of an output (executorch, tflite, gguf: a scale alone)",
        "group_size": group_size,
        "activations": "module: bf16; onnx, openvino: fp32; executorch, tflite, gguf: int8 as they come",
        "embedding": "module: bf16; onnx, executorch: fp32; openvino: int8, the head too; tflite: int4; gguf: 6 or 8 bits if it "
        "is the head",
        "kept": "module: layers whose inputs are no multiple of the group, bf16; executorch: the same, fp32; openvino: the same, "
        "int8; tflite: int8 where inputs outnumber outputs",
    }
    models = {form: by_module(partial(way, group_size=group_size), lineage) for form, way in INT4_MODULES.items()}
    files = {form: partial(way, group_size=group_size) for form, way in INT4_FILES.items()}
    return Level(name="int4-weight-only", lineage=lineage, bound=INT4, models=models, files=files)
