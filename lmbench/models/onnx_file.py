"""An ONNX file of the user's own: read for its signature and size here, run by the backend that takes files."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lmbench.base.digest import DIGEST_CHARS
from lmbench.base.errors import SubjectError, Unreadable
from lmbench.base.reading import inside, is_file
from lmbench.base.seams import ModelFacts, Tokenizer
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.built import BuiltModel, Shapes, code_digest
from lmbench.models.options import refuse, settings

_DEFAULTS: Mapping[str, Any] = {"path": "", "vocab_size": None, "max_tokens": 512, "tokenizer": None}
_EXPECTED = (
    "either ids int64 [batch, tokens] -> logits [batch, tokens, vocabulary], or ids, positions int64 [kept], past_0 ... -> "
    "logits [batch, kept, vocabulary], present_0 ... with batch first and, in caches, the length third; all of these free"
)
_LENGTH_DIM = 2
_DECODE_ERROR: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
"""Of the library onnx reads its files with."""

Dims = tuple[int | None, ...]
"""Sizes of a tensor; None where the graph leaves them free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What goes into a graph and what comes out."""

    inputs: tuple[tuple[str, int, Dims], ...]
    """(name, element type, sizes) in the order of the graph."""
    outputs: tuple[tuple[str, int, Dims], ...]

    @property
    def simple(self) -> bool:
        """One input of ids, logits at every position, no state."""
        return len(self.inputs) == 1

    def __str__(self) -> str:
        return " -> ".join(", ".join(f"{name} {_text(dims)}" for name, _, dims in side) for side in (self.inputs, self.outputs))


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """The ONNX file at options['path']; nothing of it is executed here.

    Either the full contract (ids, positions, past_i -> logits, present_i) or the simple form (one int64 input [B, T],
    first output [B, T, V]; no state). Options: vocab_size (when the graph does not fix it), max_tokens, tokenizer
    (bytes by default). Raises ConfigError for wrong options and SubjectError for a graph of another signature.
    """
    del seed
    chosen = settings(name, options, _DEFAULTS)
    path = Path(chosen["path"])
    if not is_file(path):
        raise refuse(name, "path", repr(chosen["path"]), "an ONNX file")
    graph, files = _read(path)
    signature = Signature(inputs=_values(graph.input, graph), outputs=_values(graph.output, graph))
    _check(signature, path)
    vocab, tokenizer = _vocabulary(name, chosen, signature, corpus)
    past = tuple(dims for _, _, dims in signature.inputs[2:])
    facts = ModelFacts(
        name=name,
        family="onnx-file",
        parameters=sum(math.prod(tensor.dims) for tensor in graph.initializer if _is_float(tensor.data_type)),
        vocab_size=vocab,
        max_tokens=chosen["max_tokens"],
        carries_state=bool(past),
        weights_digest=_digest([path, *files]),
        code_digest=code_digest(),
        details={"simple": signature.simple, "inputs": _names(signature.inputs), "outputs": _names(signature.outputs)},
    )

    def shapes(batch: int, tokens: int) -> Shapes:
        return tuple(_filled(dims, batch, tokens) for dims in past)

    return BuiltModel(
        facts=facts,
        form="onnx",
        module=path,
        tokenizer=tokenizer,
        state_shapes=shapes,
        zeros=lambda shape: np.zeros(shape, dtype=np.float32),
    )


def _vocabulary(name: str, chosen: Mapping[str, Any], signature: Signature, corpus: Corpus) -> tuple[int, Tokenizer]:
    vocab = chosen["vocab_size"] or signature.outputs[0][2][2]
    if not isinstance(vocab, int):
        raise refuse(name, "vocab_size", vocab, "the size of the vocabulary, which the graph leaves free")
    tokenizer = tokenizers.build(chosen["tokenizer"] or "bytes", corpus)
    if tokenizer.vocab_size > vocab:
        raise refuse(name, "tokenizer", f"{tokenizer.vocab_size} ids", f"at most the {vocab} of the model's vocabulary")
    return vocab, tokenizer


def _read(path: Path) -> tuple[Any, list[Path]]:
    """The graph without external data, and the files that hold that data."""
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (ValueError, OSError, _DECODE_ERROR) as fault:
        raise SubjectError(f"{path} cannot be read as ONNX: {fault}") from fault
    if not graph.node:
        raise SubjectError(f"{path} holds no ONNX graph; expected {_EXPECTED}")
    names = {entry.value for tensor in _tensors(graph) for entry in tensor.external_data if entry.key == "location"}
    try:
        return graph, [inside(path.parent, name) for name in sorted(names)]
    except Unreadable as fault:
        raise SubjectError(f"{path} keeps weights elsewhere: {fault}; put them beside the file") from fault


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph and of the graphs within its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            if inner.node or inner.initializer:
                yield from _tensors(inner)


def _values(values: Sequence[Any], graph: Any) -> tuple[tuple[str, int, Dims], ...]:
    weights = {tensor.name for tensor in graph.initializer}
    return tuple(
        (value.name, value.type.tensor_type.elem_type, tuple(_size(dim) for dim in value.type.tensor_type.shape.dim))
        for value in values
        if value.name not in weights
    )


def _names(values: Sequence[tuple[str, int, Dims]]) -> list[str]:
    return [name for name, _, _ in values]


def _size(dim: Any) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") else None


def _check(signature: Signature, path: Path) -> None:
    problem = _fault(signature)
    if problem:
        raise SubjectError(f"{path}: {problem}; found {signature}; expected {_EXPECTED}")


def _fault(signature: Signature) -> str:
    """What is wrong with a signature, or an empty string."""
    names = _names(signature.inputs)
    if not names or not signature.outputs:
        return "the graph has no inputs or no outputs"
    _, kind, dims = signature.inputs[0]
    if kind != onnx.TensorProto.INT64 or dims != (None, None):
        return f"the first input {names[0]!r} is not int64 with free batch and tokens"
    if len(signature.outputs[0][2]) != 3 or signature.outputs[0][1] != onnx.TensorProto.FLOAT:
        return f"the first output {signature.outputs[0][0]!r} is not float32 of three dimensions"
    return "" if signature.simple else _state_fault(signature, names)


def _state_fault(signature: Signature, names: Sequence[str]) -> str:
    past = signature.inputs[2:]
    wanted = ["ids", "positions", *(f"past_{number}" for number in range(len(past)))]
    given = ["logits", *(f"present_{number}" for number in range(len(past)))]
    if list(names) != wanted or _names(signature.outputs) != given:
        return f"the names are not {', '.join(wanted)} -> {', '.join(given)}"
    for name, kind, dims in past:
        if kind != onnx.TensorProto.FLOAT or len(dims) < 2 or dims[0] is not None:
            return f"{name!r} is not float32 with a free batch"
        if any(size is None for place, size in enumerate(dims[1:], start=1) if place != _LENGTH_DIM):
            return f"{name!r} has a free size other than batch and length"
    return ""


def _filled(dims: Dims, batch: int, tokens: int) -> tuple[int, ...]:
    free = {0: batch, _LENGTH_DIM: tokens}
    return tuple(free[place] if size is None else size for place, size in enumerate(dims))


def _is_float(data_type: int) -> bool:
    return data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


def _digest(files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                total.update(piece)
    return total.hexdigest()[:DIGEST_CHARS]


def _text(dims: Dims) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in dims) + "]"
