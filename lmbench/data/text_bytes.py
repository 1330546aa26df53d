"""How many UTF-8 bytes of a text some of its tokens stand for: what perplexities of different vocabularies are put over."""

from __future__ import annotations

from collections.abc import Sequence

from lmbench.base.seams import Tokenizer
from lmbench.data.tokenizers import UNKNOWN, ByteTokenizer, FileTokenizer

NOT_BACK = "the tokenizer does not give the evaluated text back, so the bytes that its tokens stand for are not known"
INSIDE = "the evaluated tokens begin or end inside of a character"


def text_bytes(tokenizer: Tokenizer, text: str, ids: Sequence[int], first: int = 1) -> int | str:
    """Bytes of `text` that the tokens from `first` on stand for, or why that is not known.

    `ids` are the tokens that `text` begins with. Tokens of an encoding that changes the text, as one that lowers its case, say
    nothing about the bytes; those of bytes, also within a character, do.
    """
    if isinstance(tokenizer, ByteTokenizer):
        return len(ids) - first
    whole, lead = tokenizer.decode(ids), tokenizer.decode(ids[:first])
    if not all(text.startswith(part.rstrip(UNKNOWN)) for part in (whole, lead)):
        return NOT_BACK
    counted = tokenizer.byte_count(ids[first:]) if isinstance(tokenizer, FileTokenizer) else None
    if counted is not None:
        return counted
    if not all(text.startswith(part) for part in (whole, lead)):
        return INSIDE if isinstance(tokenizer, FileTokenizer) else NOT_BACK
    return len(whole.encode()) - len(lead.encode())
