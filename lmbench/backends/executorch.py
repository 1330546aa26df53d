"""ExecuTorch: a program by the model contract, its operators run by XNNPACK where that has them, else by portable kernels."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmbench.backends.artifact import Artifact, made
from lmbench.backends.options import compute_threads, count, only, problem
from lmbench.backends.quiet import quiet
from lmbench.backends.torch_weights import zero_share
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = WEIGHTS = "executorch"
RECIPE = 1
"""Raise when the export changes, so that files of the old recipe are not found."""
FILE, FACTS, METHOD = "model.pte", "facts.json", "forward"
DEFAULT_TOKENS = 512
# The example that is traced. Sizes of 0 and 1 would become constants, and equal ones would be taken for one size.
ROWS, TOKENS, KEPT, PAST = 2, 5, 3, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The largest sizes a program takes. Its memory is laid out for them when it is made, and taken when it is loaded."""

    batch: int
    """Rows of one call."""
    tokens: int
    """Tokens of a row, those of its past included."""
    stepwise: bool
    """One token per call: torch writes a recurrent cell out once per token, which fixes their number."""


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The .pte file of `model` at this level, from the cache or built now.

    Facts: weight_bytes, planned_bytes, zero_share (of levels that claim one), delegated_share, portable_operators (how often
    each that XNNPACK does not run).
    """
    built: list[str] = []
    bounds = read_bounds(model, options)
    key = {"recipe": RECIPE, "versions": _versions(), "bounds": asdict(bounds), "level": dict(method.lineage)}
    key |= {"family": model.facts.family, "details": dict(model.facts.details)}

    def build(folder: Path) -> None:
        facts = _write(model, bounds, folder / FILE) | {"zero_share": zero_share(model.module) if method.sparse else None}
        path = method.on_file(model, folder / FILE, folder, WEIGHTS)
        (folder / FACTS).write_text(json.dumps(facts | {"file": path.name}), encoding="utf-8")
        built.append("file")

    folder = made(WEIGHTS, model, key, build)
    facts = read_object(folder / FACTS)
    path = folder / facts["file"]
    return Artifact(path=path, folder=folder, facts=facts, built=bool(built), files=(path,))


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level in the runtime.

    Options: `threads` (a count; default: see `compute_threads`), `max_tokens` (of a row, past included; default: 512, or what
    the model can take of them), `max_batch` (rows of one call, default 1; more of them run in groups, one after another).
    """
    only(NAME, options, ["max_batch", "max_tokens", "threads"])
    threads = compute_threads(NAME, options)
    artifact = export(model, method, options)
    with quiet():
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        # 'Unsafe' while a program runs: it replaces the pool, which all programs of the process share.
        portable_lib._unsafe_reset_threadpool(threads)
        try:
            program = Runtime.get().load_program(artifact.path).load_method(METHOD)
        except RuntimeError as error:
            raise SubjectError(f"ExecuTorch {_version()} cannot load {model.facts.name!r}: {error}") from error
        found = portable_lib._threadpool_get_thread_count()
    return ExecutorchEngine(model=model, artifact=artifact, program=program, bounds=read_bounds(model, options), threads=found)


def read_bounds(model: LanguageModel, options: Mapping[str, Any]) -> Bounds:
    """Options as bounds; ConfigError for more tokens than the model takes, SubjectError where torch cannot leave sizes free."""
    longest = model.facts.max_tokens
    tokens = count(NAME, options, "max_tokens") or min(DEFAULT_TOKENS, longest)
    if tokens > longest:
        raise ConfigError([problem(NAME, "max_tokens", str(tokens), f"at most {longest}, the model's own")])
    batch = count(NAME, options, "max_batch") or 1
    stepwise = any(isinstance(part, nn.RNNBase) for part in model.module.modules())
    if stepwise and not model.facts.carries_state:
        found = f"recurrent cells in {model.facts.name!r}, which reads all tokens at once"
        raise SubjectError(f"found {found}; ExecuTorch runs such cells token by token, from a state; use another backend")
    if stepwise and batch > 1:
        raise ConfigError([problem(NAME, "max_batch", str(batch), "1: torch fixes the batch of recurrent cells")])
    return Bounds(batch=batch, tokens=tokens, stepwise=stepwise)


class ExecutorchEngine:
    """A loaded program: ids, positions, state -> logits, state. The state is torch tensors."""

    def __init__(self, *, model: LanguageModel, artifact: Artifact, program: Any, bounds: Bounds, threads: int) -> None:
        self._model = model
        self._artifact = artifact
        self._program = program
        self._bounds = bounds
        self._threads = threads

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`; SubjectError for more tokens than the program was made for."""
        past = max((part.shape[2] for part in state if part.ndim == 4), default=0)
        if past + ids.shape[1] > self._bounds.tokens and not self._bounds.stepwise:
            found = f"found {past + ids.shape[1]} tokens, {past} of them past"
            made_for = f"{self._model.facts.name!r} was exported for at most {self._bounds.tokens}"
            raise SubjectError(f"{found}; {made_for}; set the backend's option `max_tokens`, or ask for less")
        rows, call = self._bounds.batch, self._by_token if self._bounds.stepwise else self._run
        groups = [
            call(ids[first : first + rows], positions, [part[first : first + rows] for part in state])
            for first in range(0, len(ids), rows)
        ]
        logits, *after = groups[0] if len(groups) == 1 else [torch.cat(parts) for parts in zip(*groups, strict=True)]
        return logits.numpy(), tuple(after)

    def empty_state(self, batch: int) -> State:
        """The model's empty state."""
        return tuple(part.contiguous() for part in self._model.empty_state(batch))

    def describe(self) -> Mapping[str, object]:
        """JSON facts.

        `weight_bytes` are those in the file; XNNPACK makes a copy in its own layout. `planned_bytes` hold activations, inputs
        and outputs of the largest sizes. `delegated_share` is that of operators which XNNPACK runs.
        """
        facts = self._artifact.facts
        return {
            "engine": NAME,
            "version": _version(),
            "device": "cpu",
            "threads": self._threads,
            "dtype": "float32",
            "state_dtype": "float32",
            "weight_bytes": facts["weight_bytes"],
            "disk_bytes": self._artifact.disk_bytes,
            "zero_share": facts["zero_share"],
            "planned_bytes": facts["planned_bytes"],
            "delegated_share": facts["delegated_share"],
            "portable_operators": facts["portable_operators"],
            "max_tokens": self._bounds.tokens,
            "max_batch": self._bounds.batch,
            "tokens_per_call": 1 if self._bounds.stepwise else None,
            "artifact": "built" if self._artifact.built else "cached",
        }

    def close(self) -> None:
        """Let go of the program and its memory."""
        self._program = None

    def _by_token(self, ids: IntArray, positions: IntArray, state: Sequence[Tensor]) -> list[Tensor]:
        """One call per token; logits only where they are asked for."""
        asked = set(positions.tolist())
        logits: dict[int, Tensor] = {}
        for place in range(ids.shape[1]):
            kept = np.zeros(int(place in asked), dtype=np.int64)
            logits[place], *state = self._run(ids[:, place : place + 1], kept, state)
        return [torch.cat([logits[place] for place in positions.tolist()], dim=1), *state]

    def _run(self, ids: IntArray, positions: IntArray, state: Sequence[Tensor]) -> list[Tensor]:
        # Flat and viewed: torch keeps numpy's strides, and the runtime ends the process over those of an empty array.
        values = [torch.tensor(array.ravel()).view(array.shape) for array in (ids, positions)]
        try:
            found: list[Tensor] = self._program.execute([*values, *state])
        except RuntimeError as error:
            raise SubjectError(f"ExecuTorch {_version()} failed on {self._model.facts.name!r}: {error}") from error
        return found


def _write(model: LanguageModel, bounds: Bounds, path: Path) -> dict[str, object]:
    """Write the program to `path`; facts about it. SubjectError when it cannot be made."""
    with quiet():
        from executorch.devtools.backend_debug import get_delegation_info
        from executorch.exir import ExecutorchBackendConfig
        from executorch.exir.error import ExportError, InternalError
        from executorch.exir.passes import MemoryPlanningPass
        from torch._export.verifier import SpecViolationError

        # Inputs are read where they lie, and outputs have a place of their own: planned ones would be copied once more.
        planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=False)
        try:
            lowered, largest = _lowered(model, bounds)
            program = lowered.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
        except (AssertionError, ExportError, InternalError, RuntimeError, SpecViolationError, ValueError) as error:
            # What follows the first line is advice to those who change the exporter.
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            text = f"ExecuTorch {_version()} cannot export {type(model.module).__name__} of model {model.facts.name!r}: {why}"
            raise SubjectError(f"{text}\nUse another backend for this model") from error
        _require_free_sizes(program, largest, model.facts.name)
        path.write_bytes(program.buffer)
        delegated = get_delegation_info(lowered.exported_program().graph_module).num_delegated_nodes
    return _facts(program, delegated)


def _lowered(model: LanguageModel, bounds: Bounds) -> tuple[Any, list[list[int]]]:
    """The module traced with free sizes, its operators given to XNNPACK where that takes them; the largest size of each input."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from torch.export import Dim

    batch = 1 if bounds.batch == 1 else ROWS
    tokens = 1 if bounds.stepwise else TOKENS
    ids = torch.arange(batch * tokens).reshape(batch, tokens) % model.facts.vocab_size
    state = tuple(_with_past(part) for part in model.empty_state(batch))
    longest = max(bounds.tokens, PAST)
    most = {"batch": bounds.batch, "tokens": longest, "kept": KEPT if bounds.stepwise else longest, "past": longest}
    size = {name: Dim(name, min=1, max=largest) for name, largest in most.items() if largest > 1}
    rows = {} if batch == 1 else {0: size["batch"]}
    free = [rows if bounds.stepwise else {**rows, 1: size["tokens"]}, {0: size["kept"]}]
    free += [{**rows, 2: size["past"]} if part.ndim == 4 else rows for part in state]
    example = [ids, torch.arange(KEPT) % tokens, *state]
    shapes = (*free[:2], *([tuple(free[2:])] if state else []))
    program = torch.export.export(model.module, tuple(example), dynamic_shapes=shapes)
    largest = [
        [dims[place].max if place in dims else length for place, length in enumerate(part.shape)]
        for part, dims in zip(example, free, strict=True)
    ]
    return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]), largest


def _require_free_sizes(program: Any, largest: Sequence[Sequence[int]], name: str) -> None:
    """Raise SubjectError when lowering gave up on a free size and quietly fixed it to the example's."""
    plan = program.executorch_program.execution_plan[0]
    for number, (index, expected) in enumerate(zip(plan.inputs, largest, strict=True)):
        found = list(plan.values[index].val.sizes)
        if found != list(expected):
            text = f"found input {number} of model {name!r} exported for sizes up to {found}; expected {list(expected)}"
            raise SubjectError(f"{text}; use another backend for this model")


def _facts(program: Any, delegated: int) -> dict[str, object]:
    """What a program says of itself, given the number of operators that XNNPACK runs."""
    plan = program.executorch_program.execution_plan[0]
    calls = [step.instr_args for chain in plan.chains for step in chain.instructions]
    kernels = Counter(plan.operators[call.op_index].name for call in calls if hasattr(call, "op_index"))
    constants = [len(buffer.storage) for buffer in program.executorch_program.constant_buffer]
    named = program._named_data
    return {
        "weight_bytes": sum(constants) + sum(len(data) for data in (named.buffers if named else [])),
        "planned_bytes": sum(plan.non_const_buffer_sizes),
        "delegated_share": delegated / max(1, delegated + kernels.total()),
        "portable_operators": dict(kernels.most_common()),
    }


def _with_past(part: Tensor) -> Tensor:
    return part.new_zeros((*part.shape[:2], PAST, *part.shape[3:])) if part.ndim == 4 else part


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("executorch", "pytest-lmbench", "torch", "torchao")}


def _version() -> str:
    return importlib.metadata.version("executorch")
