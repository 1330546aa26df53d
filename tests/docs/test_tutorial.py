"""The tutorial, followed to the letter: an empty repository, a wheel, every file written and every command run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:py|yaml))\n")
NEEDED = ("torch", "tokenizers", "onnxruntime", "onnx", "onnxscript")
STATUSES = {"lmbench doctor": (0, 1, 2), "-k size --benchmark-compare": (1,), "--benchmark-compare": (0, 1)}
"""What may differ from 0: an unfit machine, the regression that the tutorial makes, and times of a busy machine."""
PYTEST = "import sys\nfrom pytest import console_main\nsys.exit(console_main())\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; all else is that of the running one, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "lmbench", folder / "source" / "lmbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    subprocess.run([*pip, *build], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    into = ("--python", str(folder / "venv"), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    subprocess.run([*pip, *into], check=True, capture_output=True)
    (packages,) = folder.glob("venv/lib/python3*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    script = folder / "venv" / "bin" / "pytest"
    script.write_text(f"#!{folder}/venv/bin/python\n{PYTEST}", encoding="utf-8")
    script.chmod(0o755)
    return folder / "venv"


def shell(line: str, folder: Path, venv: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=1200
    )


def steps() -> Iterator[tuple[str, str]]:
    """(path, text) of each file, ('', line) of each command, in their order."""
    for language, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")):
        if language == "console":
            yield from (("", line.removeprefix("$ ")) for line in text.splitlines() if line.startswith("$ "))
        elif named := NAMED.match(text):
            yield named[1], text


def statuses(line: str) -> tuple[int, ...]:
    return next((expected for words, expected in STATUSES.items() if words in line), (0,))


@pytest.mark.skipif(not all(map(importlib.util.find_spec, NEEDED)), reason="needs pytest-lmbench[onnx]")
def test_the_tutorial_works_to_its_last_line(installed: Path, tmp_path: Path) -> None:
    shell("git init -q", tmp_path, installed)
    where = shell("python -c 'import lmbench; print(lmbench.__file__)'", tmp_path, installed).stdout
    assert where.startswith(str(installed)), where
    for path, text in steps():
        if path:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
            continue
        done = shell(text, tmp_path, installed)
        assert done.returncode in statuses(text), f"$ {text}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr, f"$ {text}\n{done.stdout}{done.stderr}"
    assert "wider layer" in (tmp_path / "baselines" / "changes.yaml").read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "reports").glob("*.html")} >= {"mine.html", "own.html"}


def test_a_wheel_holds_all_that_is_no_code(installed: Path) -> None:
    (packages,) = installed.glob("lib/python3*/site-packages")
    wanted = {
        path.relative_to(ROOT) for path in (ROOT / "lmbench").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert {str(path) for path in wanted if not (packages / path).is_file()} == set()
