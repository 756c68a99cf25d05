"""What a person may be called: nearly anything that can be read on one line."""

from __future__ import annotations

import unicodedata

from visavis.errors import NameRefused

LONGEST_NAME = 200
"""Characters (code points after NFC)."""

# Embeddings, overrides and isolates make the text around a name read in another order. The
# marks U+200E, U+200F and U+061C only act on their neighbours, and right-to-left names need them.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# Letters and symbols by category that nevertheless show nothing.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")

_SAID = {
    "Cc": "a control character, such as a line break or a tab",
    "Cs": "half of a character (a lone surrogate): the text was decoded wrongly",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}


def clean_name(text: str) -> str:
    """Bring a person's name into the one form it is stored and looked up in.

    Parameters
    ----------
    text
        The name in any script; slashes, quotes and emoji are characters like any other.

    Returns
    -------
    str
        NFC, without spaces around it, 1 to 200 characters.

    Raises
    ------
    NameRefused
        When it is empty, shows nothing, is too long, or holds characters that break or reorder
        the line it stands in.
    """
    for place, character in enumerate(text, start=1):
        if said := _fault(character):
            raise NameRefused(
                f"character {place} of the name (U+{ord(character):04X}) is {said}; remove it"
            )
    name = unicodedata.normalize("NFC", text).strip()
    if not any(_shows(character) for character in name):
        raise NameRefused("the name is empty or shows nothing; give one that can be read")
    if len(name) > LONGEST_NAME:
        raise NameRefused(f"the name has {len(name)} characters; at most {LONGEST_NAME} are kept")
    return name


def _fault(character: str) -> str | None:
    if character in _REORDERING:
        return "a mark that changes the reading direction of the text around it"
    return _SAID.get(unicodedata.category(character))


def _shows(character: str) -> bool:
    hidden = unicodedata.category(character) in {"Cf", "Zs", "Mn", "Me"}
    return not hidden and character not in _BLANK
