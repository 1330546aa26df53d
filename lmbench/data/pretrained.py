"""Where the converted pretrained model lies in the cache; a question that needs no heavy library."""

from __future__ import annotations

from pathlib import Path

from lmbench.base.cache import cache_root
from lmbench.base.digest import digest

KIND = "smollm2"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of SmolLM2-135M-Instruct.Q4_1.gguf, the file that `fetch('smollm2')` brings."""


def conversion_key(sha256: str) -> dict[str, object]:
    """The cache key of the Hugging Face directory made from the GGUF file with that SHA-256."""
    return {"gguf_sha256": sha256, "dtype": "float32", "recipe": 1}


def smollm2_folder() -> Path | None:
    """The Hugging Face directory of SmolLM2-135M-Instruct, or None when it has not been fetched and converted."""
    folder = cache_root() / KIND / digest(conversion_key(SMOLLM2_SHA256))
    return folder if folder.is_dir() else None
