"""The one way of a text to a terminal or a log: without secrets, and without what a terminal or GitHub would obey.

Names, messages and replies come from files and servers that others wrote. ESC and the C1 controls would move the cursor, set
colours or make links; CR and backspace would overwrite what stands there; marks of direction would turn words around; and a
line that begins with `::error::` or `##[error]` is a command to GitHub Actions.
"""

from __future__ import annotations

import re
import unicodedata

from lmbench.base.secrets import conceal

UNPRINTABLE = "?"
_KEPT = "\n\t"
_COMMAND = re.compile(r"(?<!\S)::(?=[A-Za-z])")
_OLD_COMMAND = "##["


def printable(text: str) -> str:
    """`text` as it may be printed: line feeds and tabs stay, `?` stands for every other sign that is none to be read."""
    return neutral(conceal(text))


def one_line(text: str) -> str:
    """The same without line feeds and tabs, for names in the midst of a line."""
    return printable(" ".join(text.split("\n"))).replace("\t", " ")


def neutral(text: str) -> str:
    """`text` without control characters and workflow commands; secrets stay, so that it suits what was concealed before."""
    if not text.isprintable():
        text = "".join(map(sign, text.replace("\r\n", "\n")))
    if "::" in text:
        text = _COMMAND.sub(": :", text)
    return text.replace(_OLD_COMMAND, "# #[")


def sign(char: str) -> str:
    """`char`, or what stands for it where it may not be printed."""
    if char.isprintable() or char in _KEPT:
        return char
    return " " if unicodedata.category(char) == "Zs" else UNPRINTABLE
