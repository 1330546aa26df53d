"""A torch module to an ONNX file by the model contract, once: cached by weights, level and versions."""

from __future__ import annotations

import importlib.metadata
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from lmbench.backends.artifact import Artifact, made
from lmbench.base.errors import SubjectError
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, LanguageModel

RECIPE = 1
"""Raise when the export changes, so that files of the old recipe are not found."""
WEIGHTS = "onnx"
FILE, FACTS = "model.onnx", "facts.json"
MAX_BATCH = 4096
# The example that is traced. Sizes of 0 and 1 would become constants, and equal ones would be taken for one size.
BATCH, TOKENS, KEPT, PAST = 2, 5, 3, 7


def prepare(model: LanguageModel, method: Compression) -> Artifact:
    """The ONNX file of `model` at this level, from the cache or built now.

    Facts: initializer_bytes, zero_share, opset, external (names of files with data outside the graph).
    """
    built: list[str] = []
    key: dict[str, object] = {"recipe": RECIPE, "versions": _versions()}
    source = Path(model.module) if model.form == WEIGHTS else exported(model)

    def change(folder: Path) -> None:
        changed = method.on_file(model, source, folder, WEIGHTS)
        (folder / FACTS).write_text(json.dumps(graph_facts(changed)), encoding="utf-8")
        built.append("graph")

    folder = made("onnx", model, key | {"graph": dict(method.lineage)}, change)
    path = folder / source.name if (folder / source.name).exists() else source
    facts = read_object(folder / FACTS)
    files = (path, *(path.parent / name for name in facts["external"]))
    return Artifact(path=path, folder=folder, facts=facts, built=bool(built), files=files)


def exported(model: LanguageModel) -> Path:
    """The fp32 ONNX file of a torch model, from the cache or built now."""
    key: dict[str, object] = {"recipe": RECIPE, "versions": _versions(), "family": model.facts.family}
    key |= {"max_tokens": model.facts.max_tokens, "details": dict(model.facts.details)}
    return made("onnx", model, key, lambda folder: export_module(model, folder / FILE)) / FILE


def export_module(model: LanguageModel, path: Path) -> None:
    """Write the model's module to `path` with free batch, tokens, kept positions and past; names as in the model contract.

    Inputs ids, positions, past_0 ...; outputs logits, present_0 ... Raises SubjectError when torch cannot export it.
    """
    import torch
    from torch.export import Dim

    batch, length = Dim("batch", min=1, max=MAX_BATCH), max(2, model.facts.max_tokens)
    tokens, kept, past = (Dim(name, min=1, max=length) for name in ("tokens", "kept", "past"))
    state = tuple(_with_past(part) for part in model.empty_state(BATCH))
    shapes = tuple({0: batch, 2: past} if part.ndim == 4 else {0: batch} for part in state)
    ids = torch.arange(BATCH * TOKENS).reshape(BATCH, TOKENS) % model.facts.vocab_size
    with _quiet(), _fresh_recurrent_kernels():
        try:
            program = torch.onnx.export(
                model.module,
                (ids, torch.arange(KEPT), *state),
                dynamo=True,
                verbose=False,
                input_names=["ids", "positions", *(f"past_{index}" for index in range(len(state)))],
                output_names=["logits", *(f"present_{index}" for index in range(len(state)))],
                dynamic_shapes=({0: batch, 1: tokens}, {0: kept}, *([shapes] if state else [])),
            )
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:
            text = f"torch.onnx cannot export {type(model.module).__name__} of model {model.facts.name!r}: {error}"
            raise SubjectError(
                f"{text}\nUse the torch backend for this model, or give it a forward that torch.export accepts"
            ) from error
        if program is None:
            raise SubjectError(f"torch.onnx returned nothing for model {model.facts.name!r}; use the torch backend for it")
        _require_free_sizes(program, model.facts.name)
        program.save(path)


def graph_facts(path: Path) -> dict[str, object]:
    """Bytes of the initializers, the share of their floating-point numbers that are zero, the opset, external files."""
    import numpy as np
    import onnx

    graph = onnx.load(path)
    where = [
        entry.value
        for weight in onnx.load(path, load_external_data=False).graph.initializer
        for entry in weight.external_data
        if entry.key == "location"
    ]
    size = total = zeros = 0
    for weight in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        size += values.nbytes
        if np.issubdtype(values.dtype, np.floating):
            total += values.size
            zeros += values.size - int(np.count_nonzero(values))
    opset = next((entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")), None)
    return {"initializer_bytes": size, "zero_share": zeros / max(total, 1), "opset": opset, "external": sorted(set(where))}


def _require_free_sizes(program: Any, name: str) -> None:
    """Raise SubjectError when the exporter gave up on a free size and quietly fixed it to the example's."""
    for value in program.model.graph.inputs:
        free = (0, 1) if value.name == "ids" else (0, 2) if len(value.shape) == 4 else (0,)
        fixed = [place for place in free if isinstance(value.shape[place], int)]
        if fixed:
            found = (
                f"input {value.name!r} of model {name!r} exported with size {value.shape[fixed[0]]} fixed at dimension {fixed[0]}"
            )
            raise SubjectError(f"found {found}; expected a free size; use the torch backend for this model")


@contextmanager
def _fresh_recurrent_kernels() -> Iterator[None]:
    """Make torch look up its GRU and LSTM kernels anew, before and after.

    The exporter swaps them for loops of free length without clearing what was looked up before, so that from the second
    export of a process on, the length would be fixed (torch.export._patches, seen in torch 2.13).
    """
    import torch

    kernels = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)
    try:
        for kernel in kernels:
            kernel._dispatch_cache.clear()
        yield
    finally:
        for kernel in kernels:
            kernel._dispatch_cache.clear()


def _with_past(part: Any) -> Any:
    return part.new_zeros((*part.shape[:2], PAST, *part.shape[3:])) if part.ndim == 4 else part


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime", "onnxscript", "pytest-lmbench", "torch")}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines, warnings and log off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
