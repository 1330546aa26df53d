"""Content digests: the same declared thing has the same digest on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

DIGEST_CHARS = 16


def digest(value: object) -> str:
    """First 16 hex digits of the SHA-256 of `value` as canonical JSON (sorted keys, no spaces).

    Raises TypeError for what JSON cannot hold and ValueError for NaN and infinities.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]


def digest_bytes(data: bytes) -> str:
    """First 16 hex digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_CHARS]


def sha256_file(path: Path) -> str:
    """Full SHA-256 of a file, read in 1 MiB pieces."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            state.update(piece)
    return state.hexdigest()
