"""Environments of their own for engines whose requirements do not go together with the rest: what is in them, where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.cache import cache_root
from lmbench.base.digest import digest

BASE = ("torch==2.13.0", "torchao==0.18.0", "safetensors>=0.5", "tokenizers>=0.21", "transformers==5.23.0", "gguf>=0.17")
"""What every environment needs to build the models: an unpinned torch may bring gigabytes of CUDA libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment: what is installed beside lmbench and BASE, pinned, since nobody chose it by hand."""

    about: str
    requirements: tuple[str, ...]


ENVIRONMENTS: Mapping[str, Environment] = {
    "executorch": Environment(about="ExecuTorch", requirements=("executorch==1.5.1",)),
    "litert": Environment(
        about="LiteRT and its converter and quantizer",
        requirements=("litert-torch==0.10.0", "ai-edge-litert==2.3.0", "ai-edge-quantizer"),
    ),
    "tensorflow": Environment(
        about="TensorFlow and the converter to its SavedModel", requirements=("litert-torch==0.10.0", "tensorflow-cpu==2.21.0")
    ),
}


def folder_of(name: str) -> Path:
    """Where the environment of that name lies, or would; another recipe is another folder."""
    environment = ENVIRONMENTS[name]
    return cache_root() / "env" / f"{name}-{digest([*BASE, *environment.requirements])}"


def python_of(name: str) -> Path | None:
    """Its interpreter; None when it has not been created."""
    python = folder_of(name) / "bin" / "python"
    return python if python.exists() else None
