"""TensorFlow's SavedModel: passes of fixed lengths lowered from torch to StableHLO, compiled by XLA on their first call."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.backends.artifact import Artifact, made
from lmbench.backends.fixed_length import FullPass, FullPassEngine, Pass, passes, read_lengths, weight_facts
from lmbench.backends.options import compute_threads, only
from lmbench.backends.quiet import quiet
from lmbench.backends.torch_weights import weight_bytes, zero_share
from lmbench.base.errors import SubjectError
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel

NAME = "savedmodel"
RECIPE = 1
"""Raise when the export changes, so that files of the old recipe are not found."""
WEIGHTS = "savedmodel"
FOLDER, FACTS = "model", "facts.json"
OUTPUT = "output_0"
"""What TensorFlow calls the only output of a function."""
CALL_VERSION = 9
"""Of the calling convention of XlaCallModule: xla_ops.cc of TensorFlow."""
ERRORS_ONLY = "3"


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The SavedModel of `model` at this level, from the cache or made now.

    Option: `lengths` (token counts). Facts: weight_bytes, zero_share, folder.
    """
    built: list[str] = []
    lengths = read_lengths(NAME, options, model.facts)

    def build(folder: Path) -> None:
        _save(_tensorflow(compute_threads(NAME, options)), model, lengths, folder / FOLDER)
        changed = method.on_file(model, folder / FOLDER, folder, WEIGHTS)
        facts = {"weight_bytes": weight_bytes(model.module), "zero_share": zero_share(model.module), "folder": changed.name}
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        built.append("folder")

    names = ("litert-torch", "pytest-lmbench", "tensorflow-cpu", "torch")
    key: dict[str, object] = {"recipe": RECIPE, "lengths": list(lengths), "level": dict(method.lineage)}
    key |= {"versions": {name: importlib.metadata.version(name) for name in names}, "details": dict(model.facts.details)}
    folder = made(WEIGHTS, model, key | {"family": model.facts.family}, build)
    facts = read_object(folder / FACTS)
    path = folder / facts["folder"]
    files = tuple(sorted(file for file in path.rglob("*") if file.is_file()))
    return Artifact(path=path, folder=folder, facts=facts, built=bool(built), files=files)


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level, loaded by TensorFlow.

    Options: `threads` (a count; default: see `compute_threads`), `lengths` (token counts; default 32 and 128). SubjectError when
    this process has run TensorFlow with another number of threads, which is fixed from then on.
    """
    only(NAME, options, ["lengths", "threads"])
    threads = compute_threads(NAME, options)
    lengths = read_lengths(NAME, options, model.facts)
    artifact = export(model, method, options)
    tensorflow = _tensorflow(threads)
    used = tensorflow.config.threading.get_intra_op_parallelism_threads()
    about = {"engine": NAME, "version": tensorflow.__version__, "threads": used, **weight_facts(artifact)}
    call = Loaded(tensorflow, artifact.path, model.facts.name)
    return FullPassEngine(facts=model.facts, lengths=lengths, call=call, description=about)


class Loaded:
    """The signatures of a SavedModel, as a `Call`; XLA compiles each when it is first called."""

    def __init__(self, tensorflow: Any, path: Path, name: str) -> None:
        self._tensorflow = tensorflow
        self._name = name
        with quiet():
            self._loaded = tensorflow.saved_model.load(str(path))

    def __call__(self, name: str, inputs: Mapping[str, IntArray]) -> FloatArray:
        """Run the signature of that name."""
        constant = self._tensorflow.constant
        try:
            logits = self._loaded.signatures[name](**{key: constant(value) for key, value in inputs.items()})[OUTPUT]
        except self._tensorflow.errors.OpError as error:
            version = self._tensorflow.__version__
            raise SubjectError(f"TensorFlow {version} failed on {self._name!r}: {error.message}") from error
        return np.asarray(logits.numpy(), dtype=np.float32)


def _save(tensorflow: Any, model: LanguageModel, lengths: Sequence[int], path: Path) -> None:
    """Write a SavedModel of all passes; they share one set of variables."""
    with quiet():
        holder, module = tensorflow.Module(), FullPass(model)
        lowered = {each: _lowered(module, each, model.facts.name) for each in passes(model.facts, lengths)}
        # By memory, not by name: a tied weight has several names, and constants of two passes may share one.
        tensors = {_place(tensor): tensor for graph in lowered.values() for tensor in graph.state_dict.values()}
        holder.weights = {
            place: tensorflow.Variable(tensor.detach().numpy(), trainable=False) for place, tensor in tensors.items()
        }
        signatures = {each.name: _function(tensorflow, each, graph, holder.weights) for each, graph in lowered.items()}
        tensorflow.saved_model.save(holder, str(path), signatures=signatures)


def _lowered(module: FullPass, each: Pass, name: str) -> Any:
    """One pass as a StableHLO module with the weights among its arguments; SubjectError when it cannot be made."""
    import torch
    from litert_torch.backend.export import exported_program_to_mlir

    try:
        return exported_program_to_mlir(torch.export.export(module, (), dict(each.inputs)), inline_constants=False)
    except (RuntimeError, TypeError, ValueError) as error:
        text = f"litert_torch {importlib.metadata.version('litert-torch')} cannot lower {name!r}: {error}"
        raise SubjectError(f"{text}\nUse another backend for this model") from error


def _function(tensorflow: Any, each: Pass, graph: Any, weights: Mapping[str, Any]) -> Any:
    """One pass as a function of its named inputs over shared variables."""
    from tensorflow.compiler.tf2xla.python import xla

    code, (output,) = graph.module_bytecode, graph.output_signature

    def run(*inputs: Any) -> Any:
        sources = [argument.input_spec for argument in graph.input_signature]
        values = [inputs[it.i] if it.is_user_input else weights[_place(graph.state_dict[it.name])] for it in sources]
        kinds = {"Tout": [tensorflow.float32], "Sout": [list(output.shape)]}
        return xla.call_module(tuple(values), version=CALL_VERSION, module=code, platforms=["CPU"], **kinds)

    specs = [tensorflow.TensorSpec(tuple(value.shape), tensorflow.int64, name=key) for key, value in each.inputs.items()]
    return tensorflow.function(run, input_signature=specs)


def _place(tensor: Any) -> str:
    """Where a tensor lies in memory, and how."""
    return f"{tensor.data_ptr()}-{tensor.dtype}-{list(tensor.shape)}-{list(tensor.stride())}"


def _tensorflow(threads: int) -> Any:
    """The library, told how many threads to compute with before it has started any."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", ERRORS_ONLY)
    with quiet():
        import tensorflow
    setting = tensorflow.config.threading
    try:
        setting.set_intra_op_parallelism_threads(threads)
        setting.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        found = f"TensorFlow runs with {setting.get_intra_op_parallelism_threads()} threads in this process; expected {threads}"
        raise SubjectError(f"{found}; use one number of threads, or a process for each case") from error
    return tensorflow
