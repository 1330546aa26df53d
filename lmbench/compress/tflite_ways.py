"""LiteRT files in integers, by its own quantizer: products with constant matrices and embeddings; all between stays fp32."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.base.threads import thread_budget
from lmbench.compress.options import problem
from lmbench.compress.quiet import quiet

GROUPS = (32, 64, 128, 256)
"""Inputs of an output that can share a scale in int4 weights."""
Feed = dict[str, Any]

# Embeddings are quantized with the products, since the two may be one matrix: held in two types, each signature of a file would
# get copies of its own.


def int8_weights(model: LanguageModel, path: Path, folder: Path) -> Path:
    """Weights int8, symmetric, a scale for each output; products in fp32."""
    del model
    with _silence():
        recipe, product, look_up = _recipe()
        for operation in (product, look_up):
            recipe.add_weight_only_config(".*", operation, 8)
        return _quantized(path, folder, recipe)


def int4_weights(model: LanguageModel, path: Path, folder: Path, group_size: int) -> Path:
    """Weights int4, symmetric, a scale for each `group_size` inputs of an output; activations int8, quantized as they come.

    LiteRT has no kernel that multiplies groups of int4 in fp32. Matrices with more inputs than outputs are int8, as in
    `int8_dynamic`: in 4 symmetric bits they lose most of all (SmolLM2-135M: KL 0.63 with them, 0.27 without). ConfigError for
    sizes there is no kernel for.
    """
    del model
    if group_size not in GROUPS:
        expected = f"one of {', '.join(map(str, GROUPS))} for LiteRT"
        raise ConfigError([problem("int4-weight-only", "group_size", repr(group_size), expected)])
    with _silence():
        from ai_edge_quantizer.qtyping import QuantGranularity

        recipe, product, look_up = _recipe()
        for operation in (product, look_up):
            recipe.add_dynamic_config(".*", operation, 4, QuantGranularity(f"BLOCKWISE_{group_size}"))
        recipe.add_dynamic_config(_contracting(path), product, 8)
        return _quantized(path, folder, recipe)


def int8_dynamic(model: LanguageModel, path: Path, folder: Path) -> Path:
    """Weights int8, symmetric, a scale for each output; activations int8, one scale for each token, taken as they come."""
    del model
    with _silence():
        recipe, product, look_up = _recipe()
        for operation in (product, look_up):
            recipe.add_dynamic_config(".*", operation, 8)
        return _quantized(path, folder, recipe)


def int8_static(model: LanguageModel, path: Path, folder: Path, ids: IntArray, method: str) -> Path:
    """Weights as in `int8_dynamic`; what enters and leaves a product is int8 too, one fixed scale per tensor and signature.

    The scales span what the tensors are on `ids` [N, T] ('minmax', the only `method`; ConfigError for another). Products with
    more inputs than outputs stay as in `int8_dynamic`: a few of the values that enter an MLP's second one are hundreds of times
    larger than the rest, which would round to nothing (SmolLM2-135M: perplexity 5.5 times the parent's, 1.1 without). Attention
    and norms stay fp32: LiteRT has integer kernels for them, but a mask that is added as the smallest float takes up the whole
    range, and all scores round to one.
    """
    del model
    if method != "minmax":
        raise ConfigError([problem("int8-static", "method", repr(method), "minmax for LiteRT: its quantizer knows no other")])
    with _silence():
        recipe, product, look_up = _recipe()
        recipe.add_static_config(".*", product, 8, 8)
        recipe.add_dynamic_config(_contracting(path), product, 8)
        recipe.add_dynamic_config(".*", look_up, 8)
        return _quantized(path, folder, recipe, _ranges(path, recipe, ids))


def _recipe() -> tuple[Any, Any, Any]:
    """An empty recipe, and the names of a product with a constant matrix and of an embedding."""
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.recipe_manager import RecipeManager

    return RecipeManager(), TFLOperationName.FULLY_CONNECTED, TFLOperationName.EMBEDDING_LOOKUP


def _quantized(path: Path, folder: Path, recipe: Any, ranges: Any = None) -> Path:
    """A file of the same signatures by the recipe; SubjectError when the one at `path` has no product to quantize."""
    from ai_edge_quantizer.quantizer import Quantizer

    if not _products(path):
        found = f"found no product with a constant matrix in {path}"
        raise SubjectError(f"{found}; expected at least one to quantize; drop this cell")
    quantizer, target = Quantizer(str(path), recipe.get_quantization_recipe()), folder / path.name
    try:
        quantizer.quantize(ranges, serialize_to_path=str(target), enable_progress_report=False)
    except ValueError as error:
        raise SubjectError(f"LiteRT's quantizer cannot change {path}: {error}\nUse another level, or other options") from error
    return target


def _products(path: Path) -> dict[str, tuple[int, int]]:
    """Products with a constant matrix, by the name under which a recipe finds them: (outputs, inputs)."""
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    file = flatbuffer_utils.read_model(str(path))
    found = {}
    for graph in file.subgraphs:
        for operation in graph.operators:
            if flatbuffer_utils.opcode_to_name(file, operation.opcodeIndex) == "FULLY_CONNECTED":
                outputs, inputs = graph.tensors[operation.inputs[1]].shape
                found[get_op_scope(operation, graph.tensors)] = (int(outputs), int(inputs))
    return found


def _contracting(path: Path) -> str:
    """A pattern of the names of products with more inputs than outputs."""
    names = [re.escape(name) for name, (outputs, inputs) in _products(path).items() if inputs > outputs]
    return f"^(?:{'|'.join(names)})$"


def _ranges(path: Path, recipe: Any, ids: IntArray) -> Any:
    """Smallest and largest value of every tensor the recipe asks for, over all feeds of all signatures."""
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    # The default would be a moving average of ranges.
    meter = Calibrator(str(path), num_threads=thread_budget().threads, qsv_update_func=min_max_update)
    meter.calibrate(_feeds(path, ids), recipe)
    return meter.get_model_qsvs()


def _feeds(path: Path, ids: IntArray) -> dict[str, list[Feed]]:
    """For each signature, `ids` [N, T] as N rows of the length it takes; a single position moves through the rows."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    feeds: dict[str, list[Feed]] = {}
    for name in interpreter.get_signature_list():
        inputs = interpreter.get_signature_runner(name).get_input_details()
        rows = np.resize(ids, (len(ids), int(inputs["ids"]["shape"][1]))).astype(np.int32)
        places = (2 * np.arange(len(rows)) + 1) * rows.shape[1] // (2 * len(rows))
        every = [{"ids": row[None], "position": np.array([place], np.int32)} for row, place in zip(rows, places, strict=True)]
        feeds[name] = [{key: feed[key] for key in inputs} for feed in every]
    return feeds


@contextmanager
def _silence() -> Iterator[None]:
    """The quantizer's progress bars stay off the terminal, too."""
    with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
