"""Lower floating-point precision: bfloat16, float16, float8; as weights, or as what is computed in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmbench.base.entry import MODULE
from lmbench.base.seams import Bound, Compression, LanguageModel
from lmbench.compress import gguf_ways, torchao_ways
from lmbench.compress.changed import by_module
from lmbench.compress.level import FileChange, Level
from lmbench.compress.options import only
from lmbench.data.corpora import Corpus

BF16 = Bound(kl_max=0.02, top1_min=0.90, perplexity_ratio_max=1.03)
"""Several times what SmolLM2-135M loses: KL 0.002, agreement 0.98, perplexity ratio 1.000."""
FP16 = Bound(kl_max=0.002, top1_min=0.97, perplexity_ratio_max=1.01)
FP8 = Bound(kl_max=0.15, top1_min=0.80, perplexity_ratio_max=1.15)


def build_bf16(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'bf16': every floating-point parameter and buffer of a deep copy cast to bfloat16; takes no options."""
    del corpus, seed
    only("bf16", options)
    lineage = {"method": "bf16", "weights": "bf16"}
    change = by_module(_to_bf16, lineage)
    files: Mapping[str, FileChange] = {"gguf": gguf_ways.bf16, "openvino": _as_it_is}
    models = {MODULE: change, "aoti": change}
    return Level(name="bf16", lineage=lineage, bound=BF16, models=models, files=files, precision="bf16")


def build_fp16(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'fp16': as 'bf16' in float16, of more digits and a range that ends at 65504; takes no options.

    x86 CPUs rarely have fp16 arithmetic; ONNX Runtime's CPU provider computes most operators in fp32 between casts. There the
    level halves files, not times. ONNX files keep an fp32 state, since that is what their engine feeds.
    """
    del corpus, seed
    only("fp16", options)
    lineage = {"method": "fp16", "weights": "fp16", "kept": "what the module itself computes in fp32; onnx: the state, fp32"}
    change = by_module(_to_fp16, lineage)
    models = {MODULE: change, "aoti": change, "onnx": by_module(_fp16_inside, lineage)}
    files: Mapping[str, FileChange] = {"gguf": gguf_ways.f16, "openvino": _as_it_is}
    return Level(name="fp16", lineage=lineage, bound=FP16, models=models, files=files, precision="fp16")


def build_bf16_autocast(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'bf16-autocast': fp32 weights under torch.autocast, which casts them for each product; takes no options."""
    del corpus, seed
    only("bf16-autocast", options)
    lineage = {"method": "bf16-autocast", "weights": "fp32", "products": "bf16"}
    change = by_module(_autocast, lineage)
    return Level(name="bf16-autocast", lineage=lineage, bound=BF16, models={MODULE: change}, precision="bf16")


def build_fp8_weight_only(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'fp8-weight-only': weights of Linear layers in float8 (e4m3; Micikevicius et al. 2022, arXiv:2209.05433).

    Takes no options. Products are in fp32: float8 activations need a GPU of compute capability 8.9.
    """
    del corpus, seed
    only("fp8-weight-only", options)
    lineage = {
        "method": "fp8-weight-only",
        "weights": "fp8, e4m3, one scale per output channel",
        "kept": "embedding fp32; a head that shares its weight gets its own",
    }
    change = by_module(torchao_ways.float8_weights, lineage)
    return Level(name="fp8-weight-only", lineage=lineage, bound=FP8, models={MODULE: change})


def _as_it_is(model: LanguageModel, path: Path, folder: Path) -> Path:
    """OpenVINO computes in the level's precision whatever its file holds."""
    del model, folder
    return path


def _to_bf16(module: Any) -> Any:
    import torch

    return copy.deepcopy(module).to(torch.bfloat16)


def _to_fp16(module: Any) -> Any:
    import torch

    return copy.deepcopy(module).to(torch.float16)


def _fp16_inside(module: Any) -> Any:
    from lmbench.compress.floating import HalfInside

    return HalfInside(module)


def _autocast(module: Any) -> Any:
    from lmbench.compress.floating import Autocast

    return Autocast(module)
