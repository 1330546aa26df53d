"""Suites are kept in records: what is secret must not be written into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lmbench.base.errors import ConfigError
from lmbench.suite.load import load
from lmbench.suite.options import ServerOptions


@pytest.mark.parametrize(
    "written",
    [
        {"command": ["serve"], "env": {"HF_TOKEN": "abc"}},
        {"command": ["serve", "--api-key", "abc"]},
        {"command": ["serve", "--auth-token=abc"]},
        {"command": ["serve"], "env": {"db_password": "abc"}},
    ],
)
def test_a_secret_of_a_server_is_refused_by_its_name_alone(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected no secrets here: set them in the environment") as caught:
        ServerOptions(**written)
    assert "abc" not in str(caught.value.errors(include_input=False))


def test_the_message_of_a_suite_names_the_variable_and_not_its_value(tmp_path: Path) -> None:
    path = tmp_path / "a.suite.yaml"
    path.write_text(
        "models:\n  s: {model: endpoint, url: http://127.0.0.1:1, server: {command: [serve], env: {HF_TOKEN: hidden-value}}}\n"
        "matrix: {model: s, backend: http}\ncases: {a: {workload: stress}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, tmp_path)
    assert "a.suite.yaml:2: models.s.server: found HF_TOKEN; expected no secrets here" in str(caught.value)
    assert "hidden-value" not in str(caught.value)


def test_ordinary_options_are_no_secrets() -> None:
    assert (
        ServerOptions(command=["serve", "--max-tokens", "8", "--port", "{port}"], env={"HF_HUB_OFFLINE": "1"}).ready == "/health"
    )
