"""Text cut into sentences, English and Chinese."""

import re
from collections.abc import Iterator

_END = re.compile(r"(?P<wide>[。！？；…]+[”’」』）\"]*)|(?P<marks>[.!?]+)[\"'”’)\]]*(?=\s)")
_LAST_WORD = re.compile(r"([^\W\d_]+(?:\.[^\W\d_]+)*)$")
_SHORT = {
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "cf", "fig", "no", "vol",
    "gen", "col", "lt", "sgt", "rev", "hon", "inc", "ltd", "co", "corp",
}  # fmt: skip
"""Words that are written with a full stop which ends no sentence."""
_OPENING = "\"'“‘([「『（"


def sentences(text: str) -> Iterator[str]:
    """The sentences of a line; together they are the line, but for white space between them."""
    start = 0
    for end in _END.finditer(text):
        if end["wide"] or _is_end(text, end):
            if piece := text[start : end.end()].strip():
                yield piece
            start = end.end()
    if rest := text[start:].strip():
        yield rest


def _is_end(text: str, end: re.Match[str]) -> bool:
    following = text[end.end() :].lstrip()[:2].lstrip(_OPENING)
    if following[:1].islower():
        return False
    if end["marks"] != ".":
        return True
    word = _LAST_WORD.search(text, max(0, end.start() - 20), end.start())
    if word is None:
        return True
    # An initial, as in "J. Smith", is one capital letter; "U.S." has full stops inside.
    is_initial = len(word[1]) == 1 and word[1].isupper()
    return not (is_initial or "." in word[1] or word[1].lower() in _SHORT)
