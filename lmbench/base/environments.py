"""Environments of their own for engines whose requirements do not go together with the rest: what is in them, where they lie."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lmbench.base.cache import published

KIND = "env"
DISTRIBUTION = "pytest-lmbench"
BASE = ("torch==2.13.0", "torchao==0.18.0", "safetensors>=0.5", "tokenizers>=0.21", "transformers==5.23.0", "gguf>=0.17")
"""What every environment needs to build the models. It goes first: an unpinned torch may bring gigabytes of CUDA libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment: what is installed beside lmbench and BASE, pinned, since nobody chose it by hand."""

    about: str
    requirements: tuple[str, ...]


ENVIRONMENTS: Mapping[str, Environment] = {
    "executorch": Environment(about="ExecuTorch", requirements=("executorch==1.5.1",)),
    "litert": Environment(
        about="LiteRT, its converter and its quantizer",
        requirements=("litert-torch==0.10.0", "ai-edge-litert==2.3.0", "ai-edge-quantizer==0.10.0"),
    ),
    "tensorflow": Environment(
        about="TensorFlow, and a converter to its SavedModel", requirements=("litert-torch==0.10.0", "tensorflow-cpu==2.21.0")
    ),
}


def key_of(name: str) -> dict[str, object]:
    """What the environment of that name is made from here and now; lmbench itself is part of it."""
    requirements = [*BASE, *ENVIRONMENTS[name].requirements]
    return {"name": name, "requirements": requirements, "lmbench": own_source(), "python": list(sys.version_info[:2])}


def python_of(name: str) -> Path | None:
    """Its interpreter; None when it has not been created."""
    folder = published(KIND, key_of(name))
    return None if folder is None else folder / "bin" / "python"


def own_source() -> list[str]:
    """Arguments to pip that install this lmbench elsewhere: the folder it is edited in or was installed from, or its version.

    (PEP 610: direct_url.json of the installed distribution.)
    """
    # The folder of an editable install may hold build metadata of its own, which a path that starts there shows first.
    told = next(filter(None, (one.read_text("direct_url.json") for one in distributions(name=DISTRIBUTION))), "{}")
    direct = json.loads(told)
    url = urlsplit(str(direct.get("url", "")))
    if url.scheme == "file":
        path = url2pathname(url.path)
        return ["--editable", path] if direct.get("dir_info", {}).get("editable") else [path]
    return [f"{DISTRIBUTION}=={version(DISTRIBUTION)}"]
