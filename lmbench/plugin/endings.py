"""SIGTERM and SIGHUP end a session that has measured something as Ctrl-C does, with an exit status of their own."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from lmbench.base.signals import Endings, ended, ending_signals

ENDINGS = pytest.StashKey[Endings]()


def protect(config: pytest.Config) -> None:
    """From now to the end of the session the first such signal interrupts it, and what it has is reported.

    A worker of pytest-xdist is ended by its controller, which reports.
    """
    if ENDINGS not in config.stash and not hasattr(config, "workerinput"):
        stack = ExitStack()
        config.stash[ENDINGS] = stack.enter_context(ending_signals())
        config.add_cleanup(stack.close)


def only_note(config: pytest.Config) -> None:
    """From now on results are written: another signal must not stop that."""
    if ENDINGS in config.stash:
        config.stash[ENDINGS].noting = True


def interruption(config: pytest.Config) -> KeyboardInterrupt:
    """What interrupts the session once what it has is kept; it names the signal that came."""
    number = config.stash[ENDINGS].number if ENDINGS in config.stash else None
    return KeyboardInterrupt() if number is None else ended(number)


def status(config: pytest.Config) -> int | None:
    """143 or 129 when a signal ended the session."""
    return config.stash[ENDINGS].status if ENDINGS in config.stash else None
