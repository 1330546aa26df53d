"""ONNX Runtime on a provider of its own choice of device: exported torch modules and ONNX files of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from lmbench.backends.artifact import Artifact
from lmbench.backends.onnx_export import prepare
from lmbench.backends.onnx_providers import Placement, placement, require_used
from lmbench.backends.options import choice, compute_threads, only
from lmbench.base.errors import SubjectError
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = "onnxruntime"
ERRORS_ONLY = 3
_FAULTS = (
    faults.EPFail,
    faults.Fail,
    faults.InvalidArgument,
    faults.InvalidGraph,
    faults.InvalidProtobuf,
    faults.NotImplemented,
    faults.RuntimeException,
)


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The ONNX file a session loads."""
    del options
    return prepare(model, method)


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level in an inference session.

    Options: `threads` (a count; default: see `compute_threads`), `provider` ('cpu', 'cuda' or 'tensorrt').
    """
    only(NAME, options, ["provider", "threads"])
    threads = compute_threads(NAME, options)
    artifact = prepare(model, method)
    place = placement(choice(NAME, options, "provider", ("cpu", "cuda", "tensorrt")), model, artifact.path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(artifact.path, settings, providers=list(place.providers))
    except _FAULTS as error:
        text = f"ONNX Runtime {onnxruntime.__version__} cannot load {model.facts.name!r} at level {method.name!r}: {error}"
        raise SubjectError(f"{text}\nUse the torch backend for this combination") from error
    require_used(session, place)
    kind = SimpleEngine if model.facts.details.get("simple") else OnnxRuntimeEngine
    return kind(model=model, artifact=artifact, session=session, place=place)


@dataclass(frozen=True, slots=True)
class Held:
    """One part of a state, kept in the runtime's own memory between steps."""

    value: Any

    @property
    def nbytes(self) -> int:
        """Size of the tensor in bytes."""
        return int(self.value.tensor_size_in_bytes())


class OnnxRuntimeEngine:
    """A session over a graph that follows the model contract: ids, positions, past_i -> logits, present_i."""

    def __init__(self, *, model: LanguageModel, artifact: Artifact, session: Any, place: Placement) -> None:
        self._model = model
        self._artifact = artifact
        self._session = session
        self._place = place
        self._inputs = [item.name for item in session.get_inputs()]
        self._outputs = [item.name for item in session.get_outputs()]

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; the state stays inside the runtime."""
        values = [_held(ids).value, _held(positions).value, *(part.value for part in state)]
        logits, *after = self._run(values)
        return logits.numpy(), tuple(Held(value) for value in after)

    def empty_state(self, batch: int) -> State:
        """The model's empty state, handed to the runtime."""
        return tuple(_held(np.asarray(part)) for part in self._model.empty_state(batch))

    def describe(self) -> Mapping[str, object]:
        """JSON facts; `artifact` says whether the graph was built now or came from the cache."""
        facts = self._artifact.facts
        return {
            "engine": NAME,
            "version": onnxruntime.__version__,
            "device": self._place.device,
            "threads": self._session.get_session_options().intra_op_num_threads,
            "dtype": "float32",
            "state_dtype": "float32",
            "weight_bytes": facts["initializer_bytes"],
            "disk_bytes": self._artifact.disk_bytes,
            "zero_share": facts["zero_share"],
            "opset": facts["opset"],
            "providers": self._session.get_providers(),
            "artifact": "built" if self._artifact.built else "cached",
        }

    def close(self) -> None:
        """Let go of the session and its memory."""
        self._session = None

    def _run(self, values: Sequence[Any]) -> list[Any]:
        feed = dict(zip(self._inputs, values, strict=True))
        try:
            results = self._bound(feed) if self._place.device != "cpu" else self._session.run_with_ort_values(self._outputs, feed)
        except _FAULTS as error:
            raise SubjectError(f"ONNX Runtime {onnxruntime.__version__} failed on {self._model.facts.name!r}: {error}") from error
        return list(results)

    def _bound(self, feed: Mapping[str, Any]) -> Sequence[Any]:
        """A run whose logits arrive on the host while the state stays on the device."""
        binding = self._session.io_binding()
        for name, value in feed.items():
            binding.bind_ortvalue_input(name, value)
        for place, name in enumerate(self._outputs):
            binding.bind_output(name, "cpu" if place == 0 else self._place.device)
        self._session.run_with_iobinding(binding)
        found: Sequence[Any] = binding.get_outputs()
        return found


class SimpleEngine(OnnxRuntimeEngine):
    """A session over a graph of one input, ids [B, T] -> logits [B, T, V]: no state, positions picked afterwards."""

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; computes the logits of all positions whatever is asked for."""
        logits = self._run([_held(ids).value])[0].numpy()
        return np.ascontiguousarray(logits[:, positions], dtype=np.float32), state


def _held(array: Any) -> Held:
    return Held(onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
