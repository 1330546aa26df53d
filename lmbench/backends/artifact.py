"""The noun engines with files share: what was made of a model at a level, once, and where it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmbench.base.cache import build_for_now, build_once
from lmbench.base.seams import LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file ready to load, what is known of it, and whether it was made just now."""

    path: Path
    folder: Path
    """Made for this model and level; what is measured about the making is kept here."""
    facts: Mapping[str, Any]
    """What the engine's exporter wrote down about the weights inside."""
    built: bool
    files: tuple[Path, ...]
    """The file and whatever it points to."""

    @property
    def disk_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.stat().st_size for file in self.files)


def made(kind: str, model: LanguageModel, key: Mapping[str, object], build: Callable[[Path], None]) -> Path:
    """The cache folder of this kind that `build` fills; of a user's own code, one that ends with this process."""
    full = {**key, "weights": model.facts.weights_digest, "code": model.facts.code_digest}
    once = build_for_now if model.facts.code_digest is None else build_once
    return once(kind, full, build)
