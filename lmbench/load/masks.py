"""How a server that is started here is described: its command and variables without what is secret in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmbench.base.secrets import LEAST_CHARS, MASK, NAMED, conceal
from lmbench.suite.options import SECRET_OPTION


def masked_env(env: Mapping[str, str]) -> dict[str, str]:
    """`env` with the values masked of variables whose name says that they are secret."""
    return {name: MASK if NAMED.search(name) else blot(value, env) for name, value in env.items()}


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
    """`text` without secrets, those included that only `env` holds."""
    text = conceal(text)
    for value in secrets_of(env):
        text = text.replace(value, MASK)
    return text


def secrets_of(env: Mapping[str, str]) -> list[str]:
    """The values of those variables of `env` whose name says that they are secret, the longest first."""
    found = {value for name, value in env.items() if NAMED.search(name) and len(value) >= LEAST_CHARS}
    return sorted(found, key=len, reverse=True)
