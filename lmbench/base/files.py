"""Writing files so that a reader sees the old content or the new, never half of either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` through a synced temporary file in the same folder and a rename."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes | str]) -> list[Path]:
    """`write_atomically` for files that belong together: none is replaced before all are on disk. Returns their paths."""
    made: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            made[path] = Path(temporary)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data.encode() if isinstance(data, str) else data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
        for path, beside in made.items():
            os.replace(beside, path)
    except BaseException:
        for beside in made.values():
            beside.unlink(missing_ok=True)
        raise
    return list(files)


def append_line(path: Path, line: str) -> None:
    """Append one line to `path` and sync it, so that a later kill cannot lose it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        stream.write(line.rstrip("\n").encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
