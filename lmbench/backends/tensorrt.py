"""TensorRT 11: an ONNX file parsed into a strongly typed network, built for this GPU once, run with its state on the device.

(https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/python-api-docs.html)
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
import torch

from lmbench.backends.artifact import Artifact, made
from lmbench.backends.onnx_export import prepare
from lmbench.backends.options import count, only
from lmbench.base.cache import cache_root
from lmbench.base.errors import SubjectError, Unavailable
from lmbench.base.files import write_atomically
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = "tensorrt"
RECIPE = 1
PLAN = "model.plan"
MIB = 1 << 20
WORKSPACE_MIB, MOST_BATCH, USUAL_TOKENS = 4096, 64, 64
PREFILL, DECODE = 0, 1
"""Optimization profiles: many tokens after nothing or little, and one token after many."""
_TYPES = {
    trt.DataType.FLOAT: torch.float32,
    trt.DataType.HALF: torch.float16,
    trt.DataType.BF16: torch.bfloat16,
    trt.DataType.INT64: torch.int64,
    trt.DataType.INT32: torch.int32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The GPU as this engine uses it: where torch allocates, and the stream work is queued on."""

    torch_device: str
    name: str
    capability: str
    stream: int

    def wait(self) -> None:
        """Until everything queued has run."""
        torch.cuda.current_stream().synchronize()


def gpu() -> Device:
    """The current CUDA device of torch, which owns the memory; Unavailable without one."""
    if not torch.cuda.is_available():
        reason = f"TensorRT needs an NVIDIA GPU, and torch {torch.__version__} finds no CUDA device to allocate on"
        raise Unavailable(reason, "run on a machine with an NVIDIA driver, and install a CUDA build of torch")
    major, minor = torch.cuda.get_device_capability()
    name, stream = torch.cuda.get_device_name(), torch.cuda.current_stream().cuda_stream
    return Device(torch_device="cuda", name=name, capability=f"{major}.{minor}", stream=stream)


class Log(trt.ILogger):  # type: ignore[misc]
    """TensorRT's messages of errors, kept for ours instead of printed."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        """Called by TensorRT."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.errors.append(msg)


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The plan built from the model's ONNX file at this level, for this GPU and version.

    Precision is that of the file: networks are strongly typed, int8 comes as explicit quantize and dequantize nodes.
    Options: `max_batch` (64), `max_tokens` (the model's), `workspace_mib` (4096).
    """
    only(NAME, options, ["max_batch", "max_tokens", "workspace_mib"])
    device, onnx = gpu(), prepare(model, method)
    limits = {
        "batch": count(NAME, options, "max_batch") or MOST_BATCH,
        "tokens": min(count(NAME, options, "max_tokens") or model.facts.max_tokens, model.facts.max_tokens),
        "workspace_mib": count(NAME, options, "workspace_mib") or WORKSPACE_MIB,
    }
    built: list[str] = []

    def build(folder: Path) -> None:
        (folder / PLAN).write_bytes(_plan(onnx.path, limits, device))
        built.append(PLAN)

    key = {
        "recipe": RECIPE,
        "lineage": dict(method.lineage),
        "limits": limits,
        "gpu": device.name,
        "capability": device.capability,
    }
    key["versions"] = {name: importlib.metadata.version(name) for name in ("onnx", "onnxscript", "pytest-lmbench", "torch")}
    folder = made(NAME, model, key | {"tensorrt": trt.__version__, "onnx": onnx.folder.name}, build)
    plan = folder / PLAN
    return Artifact(path=plan, folder=folder, facts=onnx.facts, built=bool(built), files=(plan,))


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model's plan in an engine with a context for prefills and one for decode steps; options as for `export`."""
    artifact = export(model, method, options)
    log = Log()
    engine = trt.Runtime(log).deserialize_cuda_engine(artifact.path.read_bytes())
    if engine is None:
        raise SubjectError(_failed(f"load the plan of {model.facts.name!r} at level {method.name!r}", log))
    return TensorRtEngine(model=model, artifact=artifact, engine=engine, device=gpu(), log=log)


def _plan(path: Path, limits: Mapping[str, int], device: Device) -> bytes:
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network()
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        faults = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise SubjectError(
            f"TensorRT {trt.__version__} cannot parse {path.name}: {'; '.join(faults)}; use another level, or onnxruntime"
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limits["workspace_mib"] * MIB)
    for which in (PREFILL, DECODE):
        config.add_optimization_profile(_profile(builder, network, which, limits))
    timings = cache_root() / "tensorrt-timing" / f"{trt.__version__}-{device.name.replace(' ', '-')}-{device.capability}.bin"
    config.set_timing_cache(config.create_timing_cache(timings.read_bytes() if timings.exists() else b""), False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SubjectError(_failed(f"build {path.name}", log))
    write_atomically(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _profile(builder: Any, network: Any, which: int, limits: Mapping[str, int]) -> Any:
    """Ranges of every input: all shapes are allowed in both profiles, but each is fastest at shapes of its own kind."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        value = network.get_input(index)
        profile.set_shape(value.name, *_ranges(value.name, [int(size) for size in value.shape], which, limits))
    return profile


def _ranges(name: str, sizes: Sequence[int], which: int, limits: Mapping[str, int]) -> list[tuple[int, ...]]:
    """The smallest, usual and largest shape of an input; what is not free (-1) keeps its size."""
    most, usual = limits["tokens"], min(USUAL_TOKENS, limits["tokens"])
    if name == "positions":
        return [(1,), (1,), (most,)]
    length = (1, usual if which == PREFILL else 1, most) if name == "ids" else (0, 0 if which == PREFILL else usual, most)
    free = [place for place, size in enumerate(sizes) if size < 0]
    chosen = [dict(zip(free, pair, strict=False)) for pair in zip((1, 1, limits["batch"]), length, strict=True)]
    return [tuple(one.get(place, size) for place, size in enumerate(sizes)) for one in chosen]


class TensorRtEngine:
    """A plan by the model contract: ids, positions, past_i -> logits, present_i; parts of the state are torch tensors."""

    def __init__(self, *, model: LanguageModel, artifact: Artifact, engine: Any, device: Device, log: Log) -> None:
        self._model, self._artifact, self._device, self._log = model, artifact, device, log
        self._engine: Any = engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._contexts = [self._context(which) for which in (PREFILL, DECODE)]
        self._nothing = torch.empty(1, dtype=torch.uint8, device=device.torch_device)

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; the state stays on the device, the logits arrive on the host as float32."""
        where = self._device.torch_device
        values = [torch.from_numpy(np.ascontiguousarray(part)).to(where) for part in (ids, positions)]
        feed = dict(zip(self._inputs, [*values, *state], strict=True))
        logits, *after = self._run(self._contexts[DECODE if ids.shape[1] == 1 else PREFILL], feed)
        return logits.float().cpu().numpy(), tuple(after)

    def empty_state(self, batch: int) -> State:
        """The model's empty state on the device, in the types the plan takes."""
        kinds = [_TYPES[self._engine.get_tensor_dtype(name)] for name in self._inputs[2:]]
        parts = self._model.empty_state(batch)
        return tuple(part.to(self._device.torch_device, kind) for part, kind in zip(parts, kinds, strict=True))

    def describe(self) -> Mapping[str, object]:
        """JSON facts; the weights are those of the ONNX file, before fusion."""
        kinds = [_TYPES[self._engine.get_tensor_dtype(name)] for name in self._outputs]
        names = [str(kind).removeprefix("torch.") for kind in kinds]
        return {
            "engine": NAME,
            "version": trt.__version__,
            "device": self._device.name,
            "threads": None,
            "dtype": names[0],
            "state_dtype": names[-1],
            "weight_bytes": self._artifact.facts["initializer_bytes"],
            "disk_bytes": self._artifact.disk_bytes,
            "zero_share": self._artifact.facts["zero_share"],
            "activation_bytes": self._engine.device_memory_size_v2,
            "artifact": "built" if self._artifact.built else "cached",
        }

    def close(self) -> None:
        """Let go of contexts, then of the engine they belong to."""
        self._contexts = []
        self._engine = None

    def _context(self, which: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(which, self._device.stream):
            raise SubjectError(_failed("make an execution context (is there memory on the device?)", self._log))
        self._device.wait()
        return context

    def _run(self, context: Any, feed: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor]:
        for name, value in feed.items():
            if not context.set_input_shape(name, tuple(value.shape)):
                raise SubjectError(
                    f"found {name} {tuple(value.shape)}; expected a shape in the plan's range; raise max_batch or max_tokens"
                )
            context.set_tensor_address(name, self._address(value))
        results = [self._room(context, name) for name in self._outputs]
        if not context.execute_async_v3(self._device.stream):
            raise SubjectError(_failed(f"run {self._model.facts.name!r}", self._log))
        self._device.wait()
        return results

    def _room(self, context: Any, name: str) -> torch.Tensor:
        shape = tuple(int(size) for size in context.get_tensor_shape(name))
        room = torch.empty(shape, dtype=_TYPES[self._engine.get_tensor_dtype(name)], device=self._device.torch_device)
        context.set_tensor_address(name, self._address(room))
        return room

    def _address(self, tensor: torch.Tensor) -> int:
        """Where the tensor lies; an empty one (no past yet) still needs an address."""
        return tensor.data_ptr() if tensor.numel() else self._nothing.data_ptr()


def _failed(what: str, log: Log) -> str:
    return f"TensorRT {trt.__version__} could not {what}: {'; '.join(log.errors) or 'it gave no reason'}"
