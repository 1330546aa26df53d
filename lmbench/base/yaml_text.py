"""YAML that others wrote, composed within bounds: levels, aliases, digits; plain values only, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lmbench.base.errors import Unreadable
from lmbench.base.reading import TEXT_BYTES

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, some ten times as fast, where PyYAML was built with it."""
DEEPEST = 40
"""Levels of lists and mappings within each other."""
MOST_NODES = 50_000
"""Values in one document, each counted as often as aliases repeat it."""
NODE_CHARS = 200
"""A text counts as one value more for each."""
DIGITS = 100
"""Characters of one number."""
PREFIX = "tag:yaml.org,2002:"
PLAIN = "text, numbers, true and false, null, lists and mappings"
_TEXTS = ("str", "timestamp", "value", "merge")
"""A date is text: what it means, the reader of that key knows."""
_BOOLS = yaml.constructor.SafeConstructor.bool_values


def compose(text: str) -> yaml.Node | None:
    """The root of the one document in `text`, its aliases resolved; None for an empty one.

    Raises Unreadable, with the line, for what is not YAML and for more than a file written by hand needs: an anchor that
    contains itself, levels beyond DEEPEST, or aliases that multiply to more than MOST_NODES values.
    """
    try:
        if len(text.encode()) > TEXT_BYTES:
            raise Unreadable(f"{len(text):,} characters", f"at most {TEXT_BYTES:,} bytes")
        _measure(text)
        node: yaml.Node | None = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        fault = str(getattr(error, "problem", None) or error)
        raise Unreadable(f"what is not YAML ({fault})", "valid YAML", mark.line + 1 if mark else None) from error
    except UnicodeEncodeError as error:
        raise Unreadable(f"text that is no Unicode ({error.reason})", "valid YAML") from error
    return node


def line_of(node: yaml.Node) -> int:
    """The line, from 1, where `node` begins."""
    return int(node.start_mark.line) + 1


def scalar(node: yaml.Node) -> str | int | float | bool | None:
    """The plain value of a node without parts; raises Unreadable for a tag of another kind and for what is no number."""
    kind, text = node.tag.removeprefix(PREFIX), str(node.value)
    if kind in _TEXTS:
        return text
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    if kind not in ("int", "float"):
        raise Unreadable(_tagged(node, text), PLAIN, line_of(node))
    if len(text) > DIGITS:
        raise Unreadable(f"a number of {len(text)} characters", f"at most {DIGITS}", line_of(node))
    try:
        number: int | float = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, OverflowError, IndexError, KeyError) as error:
        raise Unreadable(f"{text!r}, which is no number", "a number", line_of(node)) from error
    return number


def key_of(node: yaml.Node) -> str:
    """The text of a mapping's key; raises Unreadable for a list or a mapping in its place."""
    if not isinstance(node, yaml.ScalarNode):
        raise Unreadable("a list or a mapping as a key", "a text", line_of(node))
    return str(scalar(node))


def check_plain(node: yaml.Node) -> None:
    """Raise Unreadable for a list or a mapping with a tag of another kind, such as a set or an object of some program."""
    expected = "map" if isinstance(node, yaml.MappingNode) else "seq"
    if node.tag != PREFIX + expected:
        raise Unreadable(_tagged(node, ""), PLAIN, line_of(node))


def pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
    """Keys and values of a mapping and whether the mapping itself wrote them: those of `<<` come first, so that others win."""
    own = []
    for key, value in node.value:
        if key.tag != f"{PREFIX}merge":
            own.append((key, value))
            continue
        merged = value.value[::-1] if isinstance(value, yaml.SequenceNode) else [value]
        for one in merged:
            if not isinstance(one, yaml.MappingNode):
                raise Unreadable("'<<' with something else", "a mapping to merge, or a list of them", line_of(key))
            yield from ((inner, its, False) for inner, its, _ in pairs(one))
    yield from ((key, value, True) for key, value in own)


def plain(node: yaml.Node) -> object:
    """The plain value of a node and everything in it; raises Unreadable as `scalar` does."""
    if isinstance(node, yaml.ScalarNode):
        return scalar(node)
    check_plain(node)
    if isinstance(node, yaml.MappingNode):
        return {key_of(key): plain(value) for key, value, _ in pairs(node)}
    return [plain(item) for item in node.value]


@dataclass(slots=True, kw_only=True)
class _Open:
    """A list or a mapping that has not ended: what it holds so far, aliases counted in full."""

    anchor: str | None
    nodes: int = 1
    levels: int = 0


@dataclass(slots=True, kw_only=True)
class _Measured:
    """A document while its events pass by."""

    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each anchor that has ended: nodes and levels."""

    def add(self, nodes: int, levels: int, line: int) -> None:
        if not self.open:
            return
        parent = self.open[-1]
        parent.nodes += nodes
        parent.levels = max(parent.levels, levels)
        if len(self.open) + levels > DEEPEST:
            raise Unreadable(f"more than {DEEPEST} lists and mappings within each other", f"at most {DEEPEST}", line)
        if sum(one.nodes for one in self.open) > MOST_NODES:
            raise Unreadable(f"more than {MOST_NODES:,} values, repeated ones included", f"at most {MOST_NODES:,}", line)

    def close(self) -> None:
        done = self.open.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = done.nodes, done.levels + 1
        if self.open:
            parent = self.open[-1]
            parent.nodes += done.nodes
            parent.levels = max(parent.levels, done.levels + 1)


def _measure(text: str) -> None:
    """Pass over the events of `text` without keeping them, and raise Unreadable beyond the bounds."""
    found = _Measured()
    for event in yaml.parse(text, Loader=LOADER):
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if any(one.anchor == event.anchor for one in found.open):
                raise Unreadable(f"the anchor {event.anchor!r} within itself", "values that end", line)
            found.add(*found.anchors.get(str(event.anchor), (1, 0)), line)
        elif isinstance(event, yaml.ScalarEvent):
            nodes = 1 + len(event.value) // NODE_CHARS
            if event.anchor is not None:
                found.anchors[event.anchor] = nodes, 0
            found.add(nodes, 0, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            found.add(0, 1, line)
            found.open.append(_Open(anchor=event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            found.close()


def _tagged(node: yaml.Node, text: str) -> str:
    tag = node.tag.replace(PREFIX, "!!")
    return f"the tag {tag}" + (f" on {text[:40]!r}" if text else "")
