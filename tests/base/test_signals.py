"""Signals that end a process: raised once, never over somebody else's handler, never in the middle of a step that must be whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from lmbench.base.signals import ENDING, Ended, ending_signals, only_note_signals, waiting_signals


@pytest.fixture(autouse=True)
def by_default() -> Iterator[None]:
    """The handlers of a fresh process, whatever protects the session that runs these tests."""
    before = [(one, signal.signal(one, signal.SIG_DFL)) for one in ENDING]
    yield
    for one, handler in before:
        signal.signal(one, handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_ends_the_work_and_the_next_ones_are_noted(number: signal.Signals, status: int) -> None:
    with ending_signals() as endings:
        assert endings.status is None
        with pytest.raises(KeyboardInterrupt, match=f"ended by {number.name}"):
            signal.raise_signal(number)
        for later in ENDING:
            signal.raise_signal(later)
    assert endings.status == status
    assert [signal.getsignal(one) for one in ENDING] == [signal.SIG_DFL, signal.SIG_DFL]


def test_while_results_are_written_a_signal_is_only_noted() -> None:
    with ending_signals() as endings:
        endings.noting = True
        signal.raise_signal(signal.SIGTERM)
    assert endings.status == 143


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_an_ignored_signal_and_a_handler_of_the_user_stay(handler: Callable[..., None] | signal.Handlers) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with ending_signals() as endings:
            assert signal.getsignal(signal.SIGHUP) is handler
            signal.raise_signal(signal.SIGHUP)
        assert endings.number is None and signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_changes_nothing() -> None:
    seen: list[object] = []

    def look() -> None:
        with ending_signals(), waiting_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_signals_wait_for_a_step_that_must_be_whole() -> None:
    steps: list[str] = []
    with ending_signals() as endings, pytest.raises(Ended):
        with waiting_signals():
            signal.raise_signal(signal.SIGTERM)
            steps.append("whole")
        steps.append("not reached")
    assert steps == ["whole"] and endings.status == 143
    with pytest.raises(KeyboardInterrupt), waiting_signals():
        signal.raise_signal(signal.SIGINT)
        steps.append("whole again")
    assert steps == ["whole", "whole again"]


def test_a_process_that_protects_nothing_else_still_dies_of_the_signal() -> None:
    code = (
        "import os, signal\nfrom lmbench.base.signals import waiting_signals\n"
        "with waiting_signals():\n    os.kill(os.getpid(), signal.SIGTERM)\n    print('whole', flush=True)\nprint('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("whole\n", -signal.SIGTERM)


def test_blocks_within_blocks_share_what_came_and_a_forked_child_dies_of_it() -> None:
    with ending_signals() as outer:
        with ending_signals(ctrl_c=True) as inner:
            inner.noting = True
            child = os.fork()
            if not child:
                signal.raise_signal(signal.SIGTERM)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
            assert outer.number is None
            signal.raise_signal(signal.SIGTERM)
        assert outer.status == inner.status == 143 and not outer.noting


def test_with_ctrl_c_a_second_one_always_interrupts() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ending_signals(ctrl_c=True) as endings:
            with pytest.raises(Ended, match="ended by Ctrl-C"):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert endings.status == 130 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with ending_signals(ctrl_c=True) as endings:
            only_note_signals()
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert endings.status == 130
    finally:
        signal.signal(signal.SIGINT, before)
