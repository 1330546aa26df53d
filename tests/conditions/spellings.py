"""A key in the spellings in which programs write texts, made without lmbench."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse
from collections.abc import Mapping

KEY = "sk-\"Quo/te'+&<x>\\Zz9T0pSecretCore0123=~"
"""With what each spelling escapes in it."""
CORE = "Zz9T0pSecretCore0123"


def spellings(key: str) -> Mapping[str, str]:
    content = key.encode()
    return {
        "plain": key,
        "json": json.dumps(key),
        "json with escaped slashes": json.dumps(key).replace("/", "\\/"),
        "json in json": json.dumps(json.dumps({"key": key})),
        "repr": repr(key),
        "repr of bytes": repr(content),
        "url": urllib.parse.quote(key, safe=""),
        "url with plus": urllib.parse.quote_plus(key + " x"),
        "url twice": urllib.parse.quote(urllib.parse.quote(key, safe=""), safe=""),
        "url of every byte": "".join(f"%{byte:02x}" for byte in content),
        "html": html.escape(key),
        "html of every sign": "".join(f"&#{ord(sign)};" for sign in key),
        "unicode of every sign": "".join(f"\\u{ord(sign):04X}" for sign in key),
        "base64": base64.b64encode(content).decode(),
        "base64 for urls": base64.urlsafe_b64encode(content).decode(),
        "basic": "Authorization: Basic " + base64.b64encode(b"user:" + content).decode(),
        "base64 at the second place": base64.b64encode(b"u" + content + b"zz").decode(),
        "base64 at the third place": base64.urlsafe_b64encode(b"us" + content + b"z").decode(),
        "base64 in lines": base64.encodebytes(b"some words before it, for a line break within. " + content).decode(),
        "hex": content.hex(),
        "cut short": key[:-4] + "...",
    }


def clues(key: str, core: str) -> list[str]:
    """Texts of which one stands wherever the key does, all in small letters."""
    content = key.encode()
    found = [core, core.encode().hex()]
    found += ["".join(form.format(ord(sign)) for sign in core) for form in ("%{:02x}", "&#{};", "\\u{:04x}")]
    for offset in range(3):
        coded = base64.b64encode(bytes(offset) + content).decode()[4:-4]
        found += [coded[:16], coded[16:32], coded.replace("+", "-").replace("/", "_")[:16]]
    return [one.lower() for one in found]
