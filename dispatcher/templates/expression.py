"""Expression: an operator's regular expression, which takes time in proportion to the text, whoever wrote the text.

Python's own may take hours for one text, and hold all threads of the process meanwhile. The library is loaded with the
first expression, so that a process without one does not need it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from dispatcher.errors import SettingsError
from dispatcher.installation.extras import install_command

#: Characters of a text that are searched: more than any user agent or address of a page has.
SEEN_CHARACTERS: Final = 8_192

# Characters of an expression: a longer one is a list, which `any_of` is for.
_MOST_CHARACTERS: Final = 1_000
# Bytes that a compiled expression may take: the most that a text can cost is in proportion to it.
_MOST_BYTES: Final = 1 << 20
# What Python's expressions have and RE2's have not, by how RE2 quotes it, and what to write instead.
_UNSUPPORTED: Final = {
    "(?<": "a look-behind: write what may stand before it as part of the expression",
    "(?=": "a look-ahead: write what may stand behind it as part of the expression",
    "(?!": "a look-ahead: leave such events out by a rule of their own before this one",
    "(?P": "a back reference: write again what it stands for",
    **{f"\\{number}": "a back reference: write again what it stands for" for number in range(1, 10)},
    "(?>": "an atomic group: write (?:…)",
    "(?(": "a condition: write both cases, with | between them",
    "(?#": "a comment: write it behind a # in the settings",
    "(?x": "the flag x: write the expression without blanks",
    "(?a": "the flag a: take it away, since \\w, \\d and \\s are ASCII's already",
    "(?u": "the flag u: take it away, and write \\pL for letters and \\pN for digits beyond ASCII",
    "\\Z": "\\Z: write \\z",
    **{f"\\{letter}": f"\\{letter}: write the character itself, or \\x{{…}}" for letter in "uUN"},
}


class Expression:
    """A regular expression as RE2 knows them (https://github.com/google/re2/wiki/Syntax). May be shared by threads.

    Raises:
        ValueError: It is not one; the message says how to mend it.
        SettingsError: This installation has no RE2; the message says how it gets one.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(
                f"it has {len(text):,} characters, and a regular expression may have {_MOST_CHARACTERS:,}: use any_of "
                "for a list of values, or several rules"
            )
        re2 = _re2()
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MOST_BYTES
        options.never_capture = True
        try:
            self._search = re2.compile(text.encode(errors="replace"), options).search
        except re2.error as error:
            raise ValueError(_explain(error)) from None

    def is_found_in(self, text: str) -> bool:
        """Whether it is found in the first ``SEEN_CHARACTERS`` of the text."""
        # JSON may hold halves of a surrogate pair, which UTF-8 cannot express.
        return self._search(text[:SEEN_CHARACTERS].encode(errors="replace")) is not None


def is_available() -> bool:
    """Whether the library that expressions need is installed."""
    try:
        _re2()
    except SettingsError:
        return False
    return True


def missing_library() -> str:
    """What an operator has to install for expressions, as a sentence."""
    return (
        f"regular expressions need google-re2, which is not installed here: {install_command('matches')}, or take the "
        "condition away"
    )


@cache
def _re2() -> Any:
    try:
        import re2  # noqa: PLC0415 - of an extra
    except ImportError:
        raise SettingsError([missing_library()]) from None
    return re2


def _explain(error: Exception) -> str:
    """What is wrong with an expression and what to write instead, from the error of RE2, which is bytes."""
    argument = error.args[0] if error.args else ""
    text = argument.decode(errors="replace") if isinstance(argument, bytes) else str(argument)
    quoted = text.rpartition(": ")[2]
    for start, remedy in _UNSUPPORTED.items():
        if quoted.startswith(start):
            return f"it has {remedy}; expressions are RE2's, which no text can make take hours"
    if text.startswith("bad repetition operator"):
        return f"it has {quoted}, one repetition behind another: write one"
    if "repetition size" in text:
        return f"it repeats {quoted}, and together that may be 1,000 times: write * or +, or a smaller number"
    if "too large" in text:
        return "it is too large when compiled: repeat less, or use several rules"
    return f"it is not a regular expression: {text}; in TOML write it in 'single quotes'"
