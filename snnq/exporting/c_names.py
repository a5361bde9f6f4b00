"""Names and notes in C that nothing from a stranger's folder can break out of."""

from __future__ import annotations

import re

# C99 promises that 31 characters of an external name count, and our longest ending is ``_workspace``.
_LONGEST = 20
# A header of these names would hide the compiler's own where its folder is searched first; ``main.c`` is the program,
# and the others are CMake's own targets.
_TAKEN = frozenset(
    (
        *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math"),
        *("memory", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio"),
        *("stdlib", "stdnoreturn", "string", "strings", "tgmath", "threads", "time", "uchar", "unistd", "wchar"),
        *("wctype", "main", "all", "clean", "help", "install", "package", "test"),
    )
)
_NO_NOTE = re.compile(r"[^A-Za-z0-9 _.,+-]")


def c_name(text: str) -> str:
    """Return a C identifier made of any text: lower-case letters, digits and single underscores, at most 20.

    It begins with a letter, since names with an underscore in front are the compiler's; text without a letter or digit
    gives ``network``.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if not plain:
        return "network"
    # <stdint.h> may define macros such as INT8_WIDTH.
    if plain in _TAKEN or re.match(r"\d|u?int|size|ptrdiff|wchar|wint|sig", plain):
        plain = f"net_{plain}"
    return plain[:_LONGEST].rstrip("_")


def c_note(text: str) -> str:
    """Return text for one line of a comment, at most 60 characters: what could end it or splice lines becomes ``_``."""
    return _NO_NOTE.sub("_", text[:60])
