"""Servers for the client's tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.http.modes import Options
from tests.load.http.serving import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, Server]]:
    """A server that answers in the mode named by the prompt, else with four tokens at once."""
    with serving(Options()) as found:
        yield found


@pytest.fixture(scope="module")
def zero(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the compiled server without latency."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed; it builds the server without latency")
    program = tmp_path_factory.mktemp("zero") / "zero_server"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("zero_server.c")], check=True)
    with subprocess.Popen([program, "together"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
