"""Environments created and removed: a virtual environment in the cache, filled by pip, published when it is complete."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lmbench.base.cache import build_once, entries
from lmbench.base.environments import BASE, ENVIRONMENTS, KIND, key_of, own_source
from lmbench.base.errors import FetchError
from lmbench.base.secrets import ending

TAIL_CHARS = 2000


def create(name: str, progress: Callable[[str], None]) -> Path:
    """The folder of the environment `name`, created unless it is there; FetchError with pip's last words when that fails."""

    def fill(folder: Path) -> None:
        progress(f"{name}: a virtual environment")
        _run([sys.executable, "-m", "venv", str(folder)], name)
        requirements = ENVIRONMENTS[name].requirements
        for what, packages in ((BASE[0], BASE[:1]), (", ".join(requirements), (*BASE, *requirements)), ("lmbench", own_source())):
            progress(f"{name}: installing {what}")
            _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--progress-bar", "off", *packages], name)

    return build_once(KIND, key_of(name), fill, keep=True)


def remove(name: str) -> int:
    """Delete every environment of that name, of earlier recipes too; the number of bytes freed."""
    found = [entry for entry in entries() if entry.kind == KIND and entry.key.get("name") == name]
    for entry in found:
        shutil.rmtree(entry.path)
    return sum(entry.size_bytes for entry in found)


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        words = ending((done.stderr or done.stdout).strip(), TAIL_CHARS)
        raise FetchError(
            f"environment {name!r}: `{' '.join(command)}` failed with exit status {done.returncode}:\n{words}\n"
            "Nothing was kept. Check the connection to the package index, and that this Python has the venv module"
        )
