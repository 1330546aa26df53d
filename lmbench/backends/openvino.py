"""OpenVINO on its CPU plugin: exported torch modules and ONNX files of the user's own."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.backends import onnx_export
from lmbench.backends.artifact import Artifact, made
from lmbench.backends.options import compute_threads, only
from lmbench.base.errors import SubjectError, Unavailable
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = WEIGHTS = "openvino"
DEVICE = "CPU"
RECIPE = 1
"""Raise when the file changes for other reasons than those in its key."""
FILE, FACTS = "model.xml", "facts.json"
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""A level's precision as OpenVINO names it."""
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
ACTIVATIONS = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
"""Inputs of a layer that share a scale when they are quantized as they come; 0: they are not."""
SETTING = ["runtime_options", ACTIVATIONS]
"""Where a file says so to whoever compiles it."""


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The .xml with its .bin beside it, from the cache or made now, by way of the ONNX file of a torch module.

    Facts: bytes of all weights, bytes_by_type of those of each element type, zero_share of those kept in floating point.
    """
    del options
    built: list[str] = []
    key: dict[str, object] = {"recipe": RECIPE, "onnx_recipe": onnx_export.RECIPE, "versions": _versions()}
    key |= {"family": model.facts.family, "max_tokens": model.facts.max_tokens, "details": dict(model.facts.details)}
    source = made(WEIGHTS, model, key, lambda folder: _convert(model, folder / FILE)) / FILE

    def change(folder: Path) -> None:
        changed = method.on_file(model, source, folder, WEIGHTS)
        (folder / FACTS).write_text(json.dumps(weight_facts(changed)), encoding="utf-8")
        built.append("file")

    folder = made(WEIGHTS, model, key | {"level": dict(method.lineage)}, change)
    path = folder / FILE if (folder / FILE).exists() else source
    facts = read_object(folder / FACTS)
    return Artifact(path=path, folder=folder, facts=facts, built=bool(built), files=(path, path.with_suffix(".bin")))


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level, compiled for the CPU. Option: `threads` (a count; default: see `compute_threads`).

    SubjectError when the plugin cannot take it, Unavailable when it would compute otherwise than the level says on this CPU.
    """
    only(NAME, options, ["threads"])
    openvino = _openvino()
    settings = {
        # Left alone, the plugin picks bfloat16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": HINTS[method.precision],
        "INFERENCE_NUM_THREADS": compute_threads(NAME, options),
        "ENABLE_HYPER_THREADING": True,
        "NUM_STREAMS": 1,
        # Two processes measured side by side would both pin their threads to the first CPUs.
        "ENABLE_CPU_PINNING": False,
    }
    artifact = export(model, method, {})
    try:
        compiled = openvino.Core().compile_model(artifact.path, DEVICE, settings)
    except RuntimeError as error:
        raise _refused(f"cannot load {model.facts.name!r} at level {method.name!r}", error) from error
    _require_as_declared(compiled, method)
    kind = SimpleEngine if model.facts.details.get("simple") else OpenVinoEngine
    return kind(model=model, artifact=artifact, compiled=compiled)


@dataclass(frozen=True, slots=True)
class Held:
    """One part of a state, in the runtime's own memory."""

    value: Any

    @property
    def nbytes(self) -> int:
        """Size of the tensor in bytes."""
        return int(self.value.byte_size)


class OpenVinoEngine:
    """A compiled model that follows the model contract: ids, positions, past_i -> logits, present_i."""

    def __init__(self, *, model: LanguageModel, artifact: Artifact, compiled: Any) -> None:
        self._model = model
        self._compiled = compiled
        precision = _precision(compiled)
        facts = artifact.facts
        self._facts: dict[str, object] = {
            "engine": NAME,
            "version": _openvino().__version__,
            "device": "cpu",
            "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            "dtype": DTYPES.get(precision, precision),
            "state_dtype": "float32",
            # What is in fp32 is packed again at half its size, once, when the plugin computes in 16 bits.
            "weight_bytes": facts["bytes"] - (0 if precision == "f32" else facts["bytes_by_type"].get("f32", 0) // 2),
            "weight_bytes_by_type": facts["bytes_by_type"],
            "disk_bytes": artifact.disk_bytes,
            "zero_share": facts["zero_share"],
            "activation_group_size": compiled.get_property(ACTIVATIONS),
            "artifact": "built" if artifact.built else "cached",
        }

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; the state stays in the runtime's memory."""
        feed = {"ids": ids, "positions": positions}
        request = self._run(feed | {f"past_{index}": part.value for index, part in enumerate(state)})
        after = tuple(Held(request.get_tensor(f"present_{index}")) for index in range(len(state)))
        return request.get_tensor("logits").data, after

    def empty_state(self, batch: int) -> State:
        """The model's empty state, handed to the runtime."""
        tensor = _openvino().Tensor
        return tuple(Held(tensor(np.ascontiguousarray(part))) for part in self._model.empty_state(batch))

    def describe(self) -> Mapping[str, object]:
        """JSON facts: `dtype` is what the plugin says it computes in, `threads` how many it took, `weight_bytes_by_type` those of
        the file, `activation_group_size` how many activations share a scale (0: they are not quantized as they come)."""
        return self._facts

    def close(self) -> None:
        """Let go of the compiled model and its memory."""
        self._compiled = None

    def _run(self, feed: Mapping[Any, Any]) -> Any:
        """A request that has been answered. Each is used once: its outputs are nobody else's, whatever other threads ask."""
        try:
            request = self._compiled.create_infer_request()
            request.infer(feed, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise _refused(f"failed on {self._model.facts.name!r}", error) from error
        return request


class SimpleEngine(OpenVinoEngine):
    """A compiled model of one input, ids [B, T] -> logits [B, T, V]: no state, positions picked afterwards."""

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; computes the logits of all positions whatever is asked for."""
        logits = self._run({0: ids}).get_output_tensor(0).data
        return np.ascontiguousarray(logits[:, positions], dtype=np.float32), state


def weight_facts(path: Path) -> dict[str, object]:
    """Bytes of all constants of a file and of those of each element type, and the share of zeros among floating-point ones."""
    where: dict[int, Any] = {}
    for node in _openvino().Core().read_model(path).get_ops():
        if node.get_type_name() == "Constant":
            where[node.data.ctypes.data] = node  # weights in two places of the graph lie in the file once
    sizes: Counter[str] = Counter()
    for node in where.values():
        sizes[node.get_element_type().get_type_name()] += node.get_byte_size()
    floats = [node.data for node in where.values() if node.data.dtype.kind == "f"]
    zeros = sum(values.size - int(np.count_nonzero(values)) for values in floats)
    zero_share = zeros / max(1, sum(values.size for values in floats))
    return {"bytes": path.with_suffix(".bin").stat().st_size, "bytes_by_type": dict(sizes), "zero_share": zero_share}


def _convert(model: LanguageModel, path: Path) -> None:
    """Write the model as it is, in fp32, to `path`."""
    openvino = _openvino()
    source = Path(model.module) if model.form == onnx_export.WEIGHTS else onnx_export.exported(model)
    try:
        graph = openvino.Core().read_model(source)
    except RuntimeError as error:
        raise _refused(f"cannot read the ONNX file of {model.facts.name!r}", error) from error
    # Left alone, the plugin quantizes the activations of every layer whose weights are integers.
    graph.set_rt_info("0", SETTING)
    openvino.save_model(graph, path, compress_to_fp16=False)


def _require_as_declared(compiled: Any, method: Compression) -> None:
    """Unavailable when this CPU makes the plugin compute otherwise than level and file ask for, which it does without a word."""
    found, declared = _precision(compiled), HINTS[method.precision]
    if found != declared:
        reason = f"OpenVINO computes in {found} on this CPU, not in {declared} as level {method.name!r} says"
        raise Unavailable(reason, f"use level none, or a CPU that has {declared}")
    if compiled.get_property(ACTIVATIONS) and not _quantizes_activations():
        reason = f"OpenVINO does not quantize activations on this CPU, as level {method.name!r} wants"
        raise Unavailable(reason, "use a level of weights only, or a CPU with VNNI or AMX")


def _quantizes_activations() -> bool:
    """Whether the plugin does on this CPU what it accepts as a setting: whether one small product changes by it."""
    openvino = _openvino()
    ops = openvino.opset13
    rng = np.random.default_rng(0)
    x = ops.parameter([-1, 64], np.float32)
    integers = ops.constant(rng.integers(-127, 128, size=(64, 64)), dtype=np.int8)
    weights = ops.multiply(ops.convert(integers, "f32"), ops.constant(np.full((64, 1), 0.01, dtype=np.float32)))
    product = openvino.Model([ops.matmul(x, weights, False, True)], [x], "product")
    rows = rng.normal(size=(4, 64)).astype(np.float32)

    def computed(group: int) -> FloatArray:
        settings = {"INFERENCE_PRECISION_HINT": "f32", ACTIVATIONS: group, "INFERENCE_NUM_THREADS": 1}
        result: FloatArray = openvino.Core().compile_model(product, DEVICE, settings)([rows])[0]
        return result

    return not np.array_equal(computed(0), computed(32))


def _precision(compiled: Any) -> str:
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _refused(what: str, error: RuntimeError) -> SubjectError:
    text = f"OpenVINO {importlib.metadata.version('openvino')} {what}: {str(error).strip()}"
    return SubjectError(f"{text}\nUse the torch backend for this combination")


def _openvino() -> Any:
    """The library, without the package by which it reports its use to its maker as soon as it is imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _versions() -> dict[str, str]:
    return {
        name: importlib.metadata.version(name) for name in ("nncf", "onnx", "onnxscript", "openvino", "pytest-lmbench", "torch")
    }
