"""Keeping secrets out of records and messages: by the names of variables and options, and by the values themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmbench.suite.options import SECRET_NAME, SECRET_OPTION

MASK = "***"
MIN_SECRET_CHARS = 6
"""Shorter values are not blotted out of a text: `1` or `none` stand there for other reasons."""


def masked_env(env: Mapping[str, str]) -> dict[str, str]:
    """`env` with the values masked of variables whose name says that they are secret."""
    return {name: MASK if SECRET_NAME.search(name) else blot(value, env) for name, value in env.items()}


def masked_command(command: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """`command` without the values of options such as --api-key, and without secret values of `env`."""
    shown: list[str] = []
    secret_next = False
    for argument in command:
        name, equals, _ = argument.partition("=")
        secret = SECRET_OPTION.fullmatch(name) is not None
        if secret_next:
            shown.append(MASK)
        else:
            shown.append(f"{name}={MASK}" if secret and equals else blot(argument, env))
        secret_next = secret and not equals
    return shown


def blot(text: str, env: Mapping[str, str]) -> str:
    """`text` without the values of those variables of `env` whose name says that they are secret."""
    hidden = {value for name, value in env.items() if SECRET_NAME.search(name) and len(value) >= MIN_SECRET_CHARS}
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
