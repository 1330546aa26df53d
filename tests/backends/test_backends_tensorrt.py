"""TensorRT by contract: the real bindings over stub libraries say what there is, fakes of it run the ONNX file on the CPU.

A fake may only have what the real class has, with as many parameters; what runs is the adapter as it is.
"""

from __future__ import annotations

import ctypes
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from lmbench.base.errors import SubjectError, Unavailable
from lmbench.base.seams import LanguageModel
from lmbench.compress.none import build as none

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
MAJOR = 11
NUMPY = {"FLOAT": np.float32, "INT64": np.int64}


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """NVIDIA's bindings over libraries that hold nothing but the symbols they look for."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so the stub libraries cannot be built; on Debian: apt install gcc")
    folder = tmp_path_factory.mktemp("tensorrt")
    source = Path(__file__).with_name("tensorrt_stub.c")
    for name in LIBRARIES:
        file = folder / f"lib{name}.so.{MAJOR}"
        subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{file.name}", "-o", str(file), str(source)], check=True)
        ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    return pytest.importorskip("tensorrt_bindings", reason="no TensorRT bindings; run: pip install tensorrt-cu13-bindings")


class Builder:
    refuses: str | None = None

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> Network:
        assert flags == 0, "strongly typed is all there is"
        return Network()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        if Builder.refuses:
            self._logger.log(Severity.ERROR, Builder.refuses)
            return None
        Builder.configs.append(config)
        return str(network._path).encode()

    configs: list[Any] = []


class Network:
    _path = ""

    @property
    def num_inputs(self) -> int:
        return len(self._values())

    def get_input(self, index: int) -> Any:
        value = self._values()[index]
        return SimpleNamespace(name=value.name, shape=tuple(size if isinstance(size, int) else -1 for size in value.shape))

    def _values(self) -> Any:
        return onnxruntime.InferenceSession(self._path, providers=["CPUExecutionProvider"]).get_inputs()


class Parser:
    fault: str | None = None

    def __init__(self, network: Any, logger: Any) -> None:
        del logger
        self._network = network

    def parse_from_file(self, model: str) -> bool:
        self._network._path = model
        return Parser.fault is None

    @property
    def num_errors(self) -> int:
        return 1

    def get_error(self, index: int) -> Any:
        assert index == 0
        return SimpleNamespace(desc=lambda: Parser.fault)


class Profile:
    def __init__(self) -> None:
        self._shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self._shapes[input] = (min, opt, max)


class Config:
    def __init__(self) -> None:
        self._profiles: list[Profile] = []
        self._limits: dict[Any, int] = {}

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._limits[pool] = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> bytes:
        return serialized_timing_cache

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self._timings = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self._timings + b"+")


class Runtime:
    def __init__(self, logger: Any) -> None:
        del logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        return CudaEngine(serialized_engine.decode()) if serialized_engine else None


class CudaEngine:
    def __init__(self, path: str) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._in, self._out = self._session.get_inputs(), self._session.get_outputs()

    device_memory_size_v2 = 12345

    @property
    def num_io_tensors(self) -> int:
        return len(self._in) + len(self._out)

    def get_tensor_name(self, index: int) -> str:
        return str([*self._in, *self._out][index].name)

    def get_tensor_mode(self, name: str) -> Any:
        return Mode.INPUT if name in [value.name for value in self._in] else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        kind = next(value.type for value in (*self._in, *self._out) if value.name == name)
        return Types.INT64 if "int64" in kind else Types.FLOAT

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: CudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self.runs = 0

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile = profile_index
        return stream_handle == STREAM

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self._shapes[name] = tuple(shape)
        low, _, high = Builder.configs[-1]._profiles[self._profile]._shapes[name]
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert memory, "an address is never null"
        self._places[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> Any:
        feed = {one: np.zeros(shape, self._type(one)) for one, shape in self._shapes.items()}
        return self._engine._session.run([name], feed)[0].shape

    def execute_async_v3(self, stream_handle: int) -> bool:
        feed = {name: self._memory(name, shape).copy() for name, shape in self._shapes.items()}
        for value, found in zip(self._engine._out, self._engine._session.run(None, feed), strict=True):
            self._memory(value.name, found.shape)[...] = found
        Context.used.append(self._profile)
        return stream_handle == STREAM

    used: list[int] = []

    def _type(self, name: str) -> Any:
        return NUMPY[self._engine.get_tensor_dtype(name).name]

    def _memory(self, name: str, shape: Any) -> Any:
        kind = np.dtype(self._type(name))
        size = int(np.prod(shape)) * kind.itemsize
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._places[name])).view(kind).reshape(shape)


STREAM = 77
FAKES = {
    "Builder": Builder,
    "INetworkDefinition": Network,
    "OnnxParser": Parser,
    "IOptimizationProfile": Profile,
    "IBuilderConfig": Config,
    "Runtime": Runtime,
    "ICudaEngine": CudaEngine,
    "IExecutionContext": Context,
}
OURS = {"refuses", "configs", "fault", "runs", "used"}
Types: Any = None
Mode: Any = None
Severity: Any = None


def accepted(documented: str, name: str) -> set[int]:
    """How many arguments the binding takes besides self, by the signatures in its docstring."""
    counts: set[int] = set()
    for signature in re.findall(rf"{name}\((self.*)\) ->", documented):
        arguments = re.split(r", (?=\w+:)", signature)[1:]
        counts |= set(range(sum("=" not in one for one in arguments), len(arguments) + 1))
    return counts


@pytest.mark.parametrize("name", sorted(FAKES))
def test_fakes_have_only_what_the_bindings_have(real: Any, name: str) -> None:
    genuine = getattr(real, name)
    members = {key: value for key, value in vars(FAKES[name]).items() if not key.startswith("_") and key not in OURS}
    assert members
    for key, value in members.items():
        assert hasattr(genuine, key), f"TensorRT {real.__version__} has no {name}.{key}"
        if inspect.isfunction(value):
            assert len(inspect.signature(value).parameters) - 1 in accepted(getattr(genuine, key).__doc__, key), key


@pytest.fixture
def adapter(real: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """lmbench.backends.tensorrt over the fakes, with the CPU standing for the GPU."""
    module: Any = ModuleType("tensorrt")
    module.__version__ = real.__version__
    for name in ("DataType", "MemoryPoolType", "TensorIOMode", "ILogger"):
        setattr(module, name, getattr(real, name))
    for name in ("Builder", "OnnxParser", "Runtime"):
        setattr(module, name, FAKES[name])
    names = globals()
    names["Types"], names["Mode"], names["Severity"] = real.DataType, real.TensorIOMode, real.ILogger.Severity
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    sys.modules.pop("lmbench.backends.tensorrt", None)
    monkeypatch.setattr(Builder, "refuses", None)
    monkeypatch.setattr(Parser, "fault", None)
    from lmbench.backends import tensorrt

    monkeypatch.delitem(sys.modules, "tensorrt")  # torch looks for it too, and means the real one
    monkeypatch.setattr(tensorrt, "own_gpu", tensorrt.gpu, raising=False)

    class Here(tensorrt.Device):
        def wait(self) -> None:
            """Nothing is queued."""

    monkeypatch.setattr(tensorrt, "gpu", lambda: Here(torch_device="cpu", name="a GPU", capability="9.0", stream=STREAM))
    monkeypatch.setattr(tensorrt, "cache_root", lambda: tmp_path)
    yield tensorrt
    sys.modules.pop("lmbench.backends.tensorrt", None)


def test_without_a_gpu_it_is_a_skip_with_its_remedy(adapter: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Unavailable, match="install a CUDA build of torch"):
        adapter.own_gpu()


def test_prefill_and_steps_are_the_module_s(adapter: Any, model: LanguageModel) -> None:
    engine = adapter.load(model, none({}), {"max_batch": 4})
    ids = np.random.default_rng(2).integers(0, 61, size=(3, 9))
    with torch.no_grad():
        full = model.module(torch.tensor(ids), torch.arange(9), *model.empty_state(3))[0].numpy()
    Context.used.clear()
    logits, state = engine.forward(ids[:, :7], np.array([6]), engine.empty_state(3))
    np.testing.assert_allclose(logits[:, 0], full[:, 6], atol=1e-4)
    for place in (7, 8):
        logits, state = engine.forward(ids[:, place : place + 1], np.array([0]), state)
        np.testing.assert_allclose(logits[:, 0], full[:, place], atol=1e-4)
    assert Context.used == [adapter.PREFILL, adapter.DECODE, adapter.DECODE]
    assert all(isinstance(part, torch.Tensor) for part in state)
    with pytest.raises(SubjectError, match="raise max_batch or max_tokens"):
        engine.forward(np.zeros((5, 2), dtype=np.int64), np.array([0]), engine.empty_state(5))
    engine.close()


def test_what_is_asked_of_the_builder(adapter: Any, decoder: LanguageModel, real: Any, tmp_path: Path) -> None:
    first = adapter.export(decoder, none({}), {"max_batch": 2, "max_tokens": 32, "workspace_mib": 100})
    config = Builder.configs[-1]
    assert config._limits == {real.MemoryPoolType.WORKSPACE: 100 << 20}
    prefill, decode = (profile._shapes for profile in config._profiles)
    assert prefill["ids"] == ((1, 1), (1, 32), (2, 32))
    assert decode["ids"] == ((1, 1), (1, 1), (2, 32))
    assert prefill["past_0"] == ((1, 2, 0, 16), (1, 2, 0, 16), (2, 2, 32, 16))
    assert decode["past_0"][1] == (1, 2, 32, 16)
    assert prefill["positions"] == ((1,), (1,), (32,))
    (timings,) = (tmp_path / "tensorrt-timing").iterdir()
    assert timings.read_bytes() == b"+"
    again = adapter.export(decoder, none({}), {"max_batch": 2, "max_tokens": 32, "workspace_mib": 100})
    assert (first.built, again.built, first.path) == (True, False, again.path)
    adapter.export(decoder, none({}), {"max_batch": 3})
    assert timings.read_bytes() == b"++", "timings of the first build serve the second"


def test_faults_are_told_in_tensorrt_s_words(adapter: Any, decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parser, "fault", "no importer for MatMulNBits")
    with pytest.raises(SubjectError, match=r"cannot parse model\.onnx: no importer for MatMulNBits"):
        adapter.export(decoder, none({}), {"max_batch": 7})
    monkeypatch.setattr(Parser, "fault", None)
    monkeypatch.setattr(Builder, "refuses", "out of workspace")
    with pytest.raises(SubjectError, match=r"could not build model\.onnx: out of workspace"):
        adapter.export(decoder, none({}), {"max_batch": 7})
