"""Nothing a library prints gets through, whichever way it prints; everything does again afterwards, errors included."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from lmbench.backends.quiet import quiet


def speak(word: str) -> None:
    sys.stdout.write(f"{word} out\n")
    sys.stderr.write(f"{word} err\n")
    os.write(1, f"{word} one\n".encode())
    os.write(2, f"{word} two\n".encode())
    logging.getLogger("speaker").warning(word)
    warnings.warn(word, stacklevel=1)


def test_it_is_silent_inside_and_as_before_outside(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="through"), quiet():
        speak("inside")
        raise ValueError("errors go through")
    assert capfd.readouterr() == ("", "")
    with pytest.warns(UserWarning, match="outside"):
        speak("outside")
    out, err = capfd.readouterr()
    assert set(out.split("\n")) == {"outside out", "outside one", ""}
    assert {"outside err", "outside two"} <= set(err.split("\n"))


def test_it_can_be_nested(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet(), quiet():
        os.write(2, b"inner")
    os.write(2, b"after")
    assert capfd.readouterr() == ("", "after")
