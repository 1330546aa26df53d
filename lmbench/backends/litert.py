"""LiteRT, the successor of TensorFlow Lite: a file of fixed lengths, run by its runtime on XNNPACK kernels."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.backends.artifact import Artifact, made
from lmbench.backends.fixed_length import FullPass, FullPassEngine, passes, read_lengths, weight_facts
from lmbench.backends.options import compute_threads, only
from lmbench.backends.quiet import quiet
from lmbench.backends.torch_weights import zero_share
from lmbench.base.errors import SubjectError
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel

NAME = "litert"
RECIPE = 2
"""Raise when the export changes, so that files of the old recipe are not found."""
WEIGHTS = "tflite"
FILE, FACTS = "model.tflite", "facts.json"
OUTPUT = "output_0"
"""What litert_torch calls a module's only output."""
IN_MEMORY = ":memory"
"""XNNPACK's name for a weight cache without a file (xnnpack_delegate.h of TensorFlow Lite)."""


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The .tflite file of `model` at this level, from the cache or built now.

    Option: `lengths` (token counts). Facts: weight_bytes, fixed_scales, zero_share (None where the level changed
    the file).
    """
    built: list[str] = []
    lengths = read_lengths(NAME, options, model.facts)
    source = _converted(model, lengths)

    def change(folder: Path) -> None:
        with quiet():
            changed = method.on_file(model, source, folder, WEIGHTS)
            share = zero_share(model.module) if changed == source else None
            (folder / FACTS).write_text(json.dumps({**_file_facts(changed), "zero_share": share}), encoding="utf-8")
        built.append("file")

    folder = made(WEIGHTS, model, _key(lengths) | {"level": dict(method.lineage)}, change)
    path = folder / source.name if (folder / source.name).exists() else source
    facts = read_object(folder / FACTS)
    return Artifact(path=path, folder=folder, facts=facts, built=bool(built), files=(path,))


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level in LiteRT's runtime.

    Options: `threads` (a count; default: see `compute_threads`), `lengths` (token counts; default 32 and 128).
    """
    only(NAME, options, ["lengths", "threads"])
    threads = compute_threads(NAME, options)
    lengths = read_lengths(NAME, options, model.facts)
    artifact = export(model, method, options)
    about = {"engine": NAME, "version": _version(), "threads": threads, **weight_facts(artifact)}
    call = Compiled(artifact.path, threads, model.facts.name, shared=not artifact.facts["fixed_scales"])
    return FullPassEngine(facts=model.facts, lengths=lengths, call=call, description=about)


class Compiled:
    """A file in LiteRT's runtime, as a `Call`.

    XNNPACK lays the weights out anew for its kernels, for each signature. A weight cache lets them share that (`shared`), and
    must not where activations have fixed scales: those are laid out with the weights and differ between signatures, but the
    cache knows weights only, so that one signature would compute with the scales of another (seen in LiteRT 2.3).
    """

    def __init__(self, path: Path, threads: int, name: str, *, shared: bool) -> None:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.cpu_options import CpuOptions
        from ai_edge_litert.options import Options

        self._name = name
        self._buffers: dict[str, tuple[dict[str, Any], Any, tuple[int, ...]]] = {}
        cpu = CpuOptions(num_threads=threads, xnnpack_weight_cache_path=IN_MEMORY if shared else "")
        try:
            with quiet():
                self._model = CompiledModel.from_file(str(path), options=Options(cpu_options=cpu))
        except (RuntimeError, ValueError) as error:
            raise SubjectError(f"LiteRT {_version()} cannot load {name!r}: {error}") from error

    def __call__(self, name: str, inputs: Mapping[str, IntArray]) -> FloatArray:
        """Run the signature of that name; the file takes int32."""
        try:
            if name in self._buffers:
                return self._run(name, inputs)
            with quiet():  # The first call prints.
                self._buffers[name] = self._allocated(name)
                return self._run(name, inputs)
        except (RuntimeError, ValueError) as error:
            raise SubjectError(f"LiteRT {_version()} failed on {self._name!r}: {error}") from error

    def _run(self, name: str, inputs: Mapping[str, IntArray]) -> FloatArray:
        given, logits, shape = self._buffers[name]
        for key, value in inputs.items():
            given[key].write(value.astype(np.int32))
        self._model.run_by_name(name, given, {OUTPUT: logits})
        answer: FloatArray = logits.read(math.prod(shape), np.float32).reshape(shape)
        return answer

    def _allocated(self, name: str) -> tuple[dict[str, Any], Any, tuple[int, ...]]:
        """Inputs by name, the output, and the output's shape."""
        given = {key: self._model.create_input_buffer_by_name(name, key) for key in self._model.get_input_tensor_details(name)}
        shape = self._model.get_output_tensor_details(name)[OUTPUT]["shape"]
        return given, self._model.create_output_buffer_by_name(name, OUTPUT), tuple(int(size) for size in shape)


def _converted(model: LanguageModel, lengths: Sequence[int]) -> Path:
    """The fp32 file of a torch model, from the cache or built now."""
    key = _key(lengths) | {"family": model.facts.family, "details": dict(model.facts.details)}
    return made(WEIGHTS, model, key, lambda folder: _convert(model, lengths, folder / FILE)) / FILE


def _convert(model: LanguageModel, lengths: Sequence[int], path: Path) -> None:
    """Write all passes into one file; they share its weights."""
    with quiet():
        import litert_torch
        from litert_converter.mlir.ir import MLIRError

        module, converter = FullPass(model), litert_torch
        try:
            for each in passes(model.facts, lengths):
                converter = converter.signature(each.name, module, sample_kwargs=dict(each.inputs))
            converter.convert().export(str(path))
        except (MLIRError, RuntimeError, TypeError, ValueError) as error:
            text = f"litert_torch {importlib.metadata.version('litert-torch')} cannot convert {model.facts.name!r}: {error}"
            raise SubjectError(f"{text}\nUse another backend for this model") from error


def _file_facts(path: Path) -> dict[str, object]:
    """weight_bytes: everything constant in the file (scales of quantized weights lie elsewhere); fixed_scales: whether
    activations are integers by scales in the file."""
    from ai_edge_litert.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model(str(path))
    constants = {index: len(part.data) for index, part in enumerate(file.buffers) if part.data is not None}
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors if tensor.buffer not in constants]
    fixed = any(tensor.type == flatbuffer_utils.TensorType.INT8 for tensor in tensors)
    return {"weight_bytes": sum(constants.values()), "fixed_scales": fixed}


def _key(lengths: Sequence[int]) -> dict[str, object]:
    names = ("ai-edge-litert", "ai-edge-quantizer", "litert-torch", "pytest-lmbench", "torch")
    return {"recipe": RECIPE, "versions": {name: importlib.metadata.version(name) for name in names}, "lengths": list(lengths)}


def _version() -> str:
    return importlib.metadata.version("ai-edge-litert")
