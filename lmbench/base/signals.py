"""SIGTERM and SIGHUP end work as Ctrl-C does: what was measured is still written, what was made is still removed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""A cancelled CI job, a stopped container, a closed terminal."""
WAITING = (signal.SIGINT, *ENDING)

Handler = Callable[[int, FrameType | None], object] | int


class Ended(KeyboardInterrupt):
    """A signal asked this process to end; whoever handles Ctrl-C handles this."""


@dataclass(slots=True)
class Endings:
    """Which signal ended the work; made by `ending_signals`."""

    number: int | None = None
    """The first signal that came."""
    noting: bool = False
    """Set by whoever writes the results: a signal that comes now is noted and does not interrupt."""

    @property
    def status(self) -> int | None:
        """The exit status a shell gives to a process that the signal ended: 143 or 129; None when none came."""
        return None if self.number is None else 128 + self.number

    def receive(self, number: int, _: FrameType | None) -> None:
        """The handler. The first signal raises Ended; a launcher often sends more, which must not stop the writing."""
        first, self.number = self.number is None, self.number or number
        if first and not self.noting:
            raise ended(number)
        if not first and number == signal.SIGINT:
            raise KeyboardInterrupt  # somebody at the terminal insists


def ended(number: int) -> Ended:
    """The exception that names the signal."""
    return Ended("ended by Ctrl-C" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}")


_ACTIVE: list[Endings] = []
"""Of the blocks of `ending_signals` that this process is in."""


def only_note_signals() -> None:
    """From now on a signal is noted and no longer interrupts: for work whose results are complete and not yet written."""
    for endings in _ACTIVE:
        endings.noting = True


def _in_a_forked_child() -> None:
    """A child that others fork and end by SIGTERM must die of it, as without us."""
    if _ACTIVE:
        _ACTIVE.clear()
        for number in WAITING:
            if getattr(signal.getsignal(number), "__func__", None) is Endings.receive:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


os.register_at_fork(after_in_child=_in_a_forked_child)


@contextmanager
def ending_signals(*, ctrl_c: bool = False) -> Iterator[Endings]:
    """Within the block SIGTERM and SIGHUP raise Ended in the main thread, once; handlers are restored after it.

    With `ctrl_c` so does SIGINT; a second one always interrupts. A signal that is ignored (nohup) or has a handler of
    somebody else stays as it is, and so does everything when this is not the main thread, where Python accepts no handlers.
    A block within a block shares what has come.
    """
    endings = _ACTIVE[-1] if _ACTIVE else Endings()
    numbers, ours = (WAITING, (signal.SIG_DFL, signal.default_int_handler)) if ctrl_c else (ENDING, (signal.SIG_DFL,))
    noting = endings.noting
    _ACTIVE.append(endings)
    try:
        with _handled(numbers, endings.receive, lambda handler: handler in ours):
            yield endings
    finally:
        endings.noting = noting
        if _ACTIVE:  # not in a forked child
            _ACTIVE.pop()


@contextmanager
def waiting_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP wait until the block is over: for the few steps that must not be half done."""
    came: list[int] = []
    try:
        with _handled(WAITING, lambda number, _: came.append(number), lambda handler: handler not in (signal.SIG_IGN, None)):
            yield
    finally:
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...],
    handler: Callable[[int, FrameType | None], object],
    takes: Callable[[Handler | None], bool],
) -> Iterator[None]:
    """Handle those of `numbers` whose present handler `takes` accepts; None is a handler that is not Python's."""
    taken: dict[signal.Signals, Handler | None] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                present = signal.getsignal(number)
                if takes(present):
                    taken[number] = present
                    signal.signal(number, handler)
        yield
    finally:
        for number, before in taken.items():
            signal.signal(number, before)
