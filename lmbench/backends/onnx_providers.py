"""Which execution provider an ONNX Runtime session runs on, and how: CPU, CUDA, TensorRT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from lmbench.base.cache import cache_root
from lmbench.base.errors import SubjectError, Unavailable
from lmbench.base.seams import LanguageModel

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
FALLBACKS = {"cpu": (), "cuda": ("cpu",), "tensorrt": ("cuda", "cpu")}
"""Who runs the nodes a provider does not know."""
MOST_BATCH, USUAL_TOKENS = 64, 64
"""TensorRT builds one engine for all shapes in a range, fastest at the usual one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`providers` for a session in the order they are asked, and the `device` its state stays on between steps."""

    name: str
    providers: tuple[tuple[str, dict[str, Any]], ...]
    device: str


def placement(name: str, model: LanguageModel, path: Path) -> Placement:
    """The placement of a session over the graph at `path`; Unavailable when this build of ONNX Runtime lacks the provider."""
    if PROVIDERS[name] not in onnxruntime.get_available_providers():
        found = ", ".join(onnxruntime.get_available_providers())
        reason = f"ONNX Runtime {onnxruntime.__version__} here has {found}, not {PROVIDERS[name]}"
        raise Unavailable(reason, "pip install onnxruntime-gpu in place of onnxruntime, beside an NVIDIA driver and CUDA")
    tuned = _tensorrt(model, path) if name == "tensorrt" else {}
    providers = ((PROVIDERS[name], tuned), *((PROVIDERS[other], {}) for other in FALLBACKS[name]))
    return Placement(name=name, providers=providers, device="cpu" if name == "cpu" else "cuda")


def require_used(session: Any, wanted: Placement) -> None:
    """SubjectError when the session quietly runs on another provider, as it does where a library of the wanted one is missing."""
    used: Sequence[str] = session.get_providers()
    if PROVIDERS[wanted.name] not in used:
        raise SubjectError(
            f"found a session on {', '.join(used)}; expected {PROVIDERS[wanted.name]}: its libraries could not be loaded; "
            "see the log of ONNX Runtime, and that CUDA, cuDNN and TensorRT of the versions it was built for are on the path"
        )


def _tensorrt(model: LanguageModel, path: Path) -> dict[str, Any]:
    """Kept engines and timings, and one range of shapes for every input, so that no step builds an engine of its own.

    (https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html)
    """
    import onnx

    folder = cache_root() / "onnx-tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    inputs = onnx.load(path, load_external_data=False).graph.input
    longest = model.facts.max_tokens
    few, usual, many = (
        {"batch": 1, "tokens": 1, "kept": 1, "past": 0},
        {"batch": 1, "tokens": min(USUAL_TOKENS, longest), "kept": 1, "past": min(USUAL_TOKENS, longest)},
        {"batch": MOST_BATCH, "tokens": longest, "kept": longest, "past": longest},
    )
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
        "trt_profile_min_shapes": _shapes(inputs, few),
        "trt_profile_opt_shapes": _shapes(inputs, usual),
        "trt_profile_max_shapes": _shapes(inputs, many),
    }


def _shapes(inputs: Sequence[Any], sizes: dict[str, int]) -> str:
    """name:AxBxC of every input, free dimensions at the sizes given by their names (1 where a user's file has others)."""

    def shape(value: Any) -> str:
        dims = value.type.tensor_type.shape.dim
        return "x".join(str(dim.dim_value if dim.HasField("dim_value") else sizes.get(dim.dim_param, 1)) for dim in dims)

    return ",".join(f"{value.name}:{shape(value)}" for value in inputs)
