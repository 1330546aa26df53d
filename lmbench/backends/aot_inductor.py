"""PyTorch compiled ahead of time: torch.export and AOTInductor, machine code and weights in one file, no module at run time."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lmbench.backends.artifact import Artifact, made
from lmbench.backends.options import compute_threads, only
from lmbench.backends.quiet import quiet
from lmbench.backends.recurrent_kernels import as_loops
from lmbench.backends.torch_weights import float_dtype, weight_bytes, zero_share
from lmbench.base.digest import digest
from lmbench.base.errors import SubjectError, Unavailable
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME, WEIGHTS = "aot-inductor", "aoti"
RECIPE = 1
"""Raise when the export changes, so that files of the old recipe are not found."""
FILE, FACTS = "model.pt2", "facts.json"
MAX_BATCH = 4096
# The example that is traced. Sizes of 0 and 1 would become constants, and equal ones would be taken for one size.
BATCH, TOKENS, KEPT, PAST = 2, 5, 3, 7


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The .pt2 package of `model`, from the cache or compiled now for this CPU and number of threads.

    Levels change the module, never the package. Facts: weight_bytes, dtype; zero_share for levels that claim a share of zeros.
    """
    built: list[str] = []
    threads = compute_threads(NAME, options)
    key = {"recipe": RECIPE, "versions": _versions(), "cpu": _cpu(), "threads": threads, "max_tokens": model.facts.max_tokens}

    def build(folder: Path) -> None:
        facts = _compile(model, folder / FILE, threads)
        zeros = {"zero_share": zero_share(model.module)} if method.sparse else {}
        (folder / FACTS).write_text(json.dumps(facts | zeros), encoding="utf-8")
        built.append("package")

    folder = made(WEIGHTS, model, key, build)
    facts = read_object(folder / FACTS)
    return Artifact(path=folder / FILE, folder=folder, facts=facts, built=bool(built), files=(folder / FILE,))


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model's package, loaded. Option: `threads` (see `compute_threads`), which is compiled into it."""
    only(NAME, options, ["threads"])
    artifact = export(model, method, options)
    with quiet():
        package = torch._inductor.aoti_load_package(str(artifact.path))
    return AotEngine(model=model, artifact=artifact, package=package, threads=compute_threads(NAME, options))


class AotEngine:
    """A package that answers: ids, positions, state -> logits, state. The state is torch tensors."""

    def __init__(self, *, model: LanguageModel, artifact: Artifact, package: Any, threads: int) -> None:
        self._model = model
        self._artifact = artifact
        self._package = package
        self._dtype = getattr(torch, artifact.facts["dtype"])
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(threads)

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`."""
        with torch.inference_mode():
            logits, *after = self._package(_tensor(ids), _tensor(positions), *state)
            # The package takes every input for contiguous and of the example's type, and does not check: a state that comes out
            # transposed, say, would be read wrongly.
            return logits.float().numpy(), tuple(part.contiguous() for part in _floats_in(self._dtype, after))

    def empty_state(self, batch: int) -> State:
        """The model's empty state, floating-point parts in the package's type."""
        return _floats_in(self._dtype, self._model.empty_state(batch))

    def describe(self) -> Mapping[str, object]:
        """JSON facts; `weight_bytes` are those of the module that was compiled."""
        facts = self._artifact.facts
        return {
            "engine": NAME,
            "version": torch.__version__,
            "device": "cpu",
            "threads": torch.get_num_threads(),
            **facts,
            "state_dtype": facts["dtype"],
            "disk_bytes": self._artifact.disk_bytes,
            "artifact": "built" if self._artifact.built else "cached",
        }

    def close(self) -> None:
        """Let go of the package and give torch its former number of threads back."""
        self._package = None
        torch.set_num_threads(self._threads_before)


def _compile(model: LanguageModel, path: Path, threads: int) -> dict[str, object]:
    """Write the package to `path`. Unavailable without a C++ compiler, SubjectError when torch cannot export or compile."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch._inductor.utils import fresh_cache

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        reason = "torch finds no C++ compiler"
        raise Unavailable(reason, "install g++ or clang, or set CXX to the one you have") from error
    module = copy.deepcopy(model.module).eval() if model.module.training else model.module
    # What the compiler leaves behind is as large as the package, and of no use afterwards.
    with quiet(), torch.no_grad(), as_loops(), _threads_set(threads), fresh_cache(dir=str(path.parent)):
        try:
            program = _exported(model, module)
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))
        except (RuntimeError, ValueError, AssertionError) as error:
            text = (
                f"AOTInductor {torch.__version__} cannot compile {type(module).__name__} of model {model.facts.name!r}: {error}"
            )
            raise SubjectError(f"{text}\nUse the torch or torch-compile backend for this model") from error
    dtype = str(float_dtype(module)).removeprefix("torch.")
    return {"weight_bytes": weight_bytes(module), "dtype": dtype}


def _exported(model: LanguageModel, module: torch.nn.Module) -> Any:
    """The module as a program with free batch, tokens, kept positions and past; a past of no tokens is among its sizes."""
    from torch.export import Dim

    batch, length = Dim("batch", min=1, max=MAX_BATCH), max(2, model.facts.max_tokens)
    tokens, kept = (Dim(name, min=1, max=length) for name in ("tokens", "kept"))
    past = Dim("past", min=0, max=length)
    state = tuple(
        part.new_zeros((*part.shape[:2], PAST, *part.shape[3:])) if part.ndim == 4 else part
        for part in _floats_in(float_dtype(module), model.empty_state(BATCH))
    )
    shapes = tuple({0: batch, 2: past} if part.ndim == 4 else {0: batch} for part in state)
    ids = torch.arange(BATCH * TOKENS).reshape(BATCH, TOKENS) % model.facts.vocab_size
    inputs = (ids, torch.arange(KEPT), *state)
    return torch.export.export(module, inputs, dynamic_shapes=({0: batch, 1: tokens}, {0: kept}, *([shapes] if state else [])))


def _floats_in(dtype: torch.dtype, parts: Iterable[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return tuple(part.to(dtype) if part.is_floating_point() else part for part in parts)


def _tensor(array: IntArray) -> torch.Tensor:
    # Flat and viewed: torch keeps numpy's strides, and the package does not look at them.
    return torch.tensor(array.ravel()).view(array.shape)


@contextmanager
def _threads_set(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("pytest-lmbench", "torch")}


def _cpu() -> str:
    """Digest of what the code is compiled for: the package may crash on a CPU of other instructions."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [platform.processor()]
    return digest([platform.machine(), sorted({line for line in lines if line.startswith(("flags", "Features"))} or lines[:1])])
