"""8-bit integers with scales fixed beforehand: activations are seen on real text, once, before the engine has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmbench.base.errors import ConfigError
from lmbench.base.seams import Bound, Compression, IntArray, LanguageModel
from lmbench.compress import onnx_ways, openvino_ways, tflite_ways
from lmbench.compress.calibration import calibrated_on, calibration_ids, require_text
from lmbench.compress.level import FileChange, Level
from lmbench.compress.options import only, problem
from lmbench.data.corpora import Corpus

NAME = "int8-static"
METHODS = ("minmax", "entropy")
SAMPLES, TOKENS = 16, 128
Way = Callable[[LanguageModel, Path, Path, IntArray, str], Path]
"""(model, the engine's fp32 file of it, folder, ids [N, T], method) -> a new file in that folder."""
FILES: Mapping[str, Way] = {
    "onnx": onnx_ways.int8_static,
    "openvino": openvino_ways.int8_static,
    "tflite": tflite_ways.int8_static,
}
STATIC = Bound(kl_max=0.5, top1_min=0.6, perplexity_ratio_max=1.6)


def build(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'int8-static', by its options:

    `method`: how the range of an activation is chosen from what was seen, minmax or entropy (engines' own); `samples`: windows
    of training text (16); `tokens`: their length (128).
    """
    only(NAME, options, ["method", "samples", "tokens"])
    method = options.get("method", METHODS[0])
    if method not in METHODS:
        raise ConfigError([problem(NAME, "method", repr(method), f"one of {', '.join(METHODS)}")])
    samples, tokens = _count(options, "samples", SAMPLES, 1), _count(options, "tokens", TOKENS, 2)
    lineage = {
        "method": NAME,
        "weights": "int8, one scale per output channel (onnx: uint8)",
        "activations": "int8, one scale per tensor, fixed by calibration (onnx: uint8)",
        "calibration": {"method": method, **calibrated_on(corpus, samples=samples, tokens=tokens, seed=seed)},
        "embedding": "fp32 (openvino, tflite: int8)",
        "kept": "onnx, tflite: products of activations, fp32; onnx: fp32 where inputs outnumber outputs, tflite: activations "
        "as they come there",
        "products": "int8",
    }

    def calibrated(way: Way) -> FileChange:
        def change(model: LanguageModel, path: Path, folder: Path) -> Path:
            ids = calibration_ids(model, require_text(NAME, corpus), samples, tokens, seed)
            return way(model, path, folder, ids, method)

        return change

    files = {form: calibrated(way) for form, way in FILES.items()}
    return Level(name=NAME, lineage=lineage, bound=STATIC, files=files)


def _count(options: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError([problem(NAME, key, repr(value), f"a whole number of at least {least}")])
    return value
