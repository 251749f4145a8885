"""JSON body: the JSON of a request, and how deep it nests. One odd value in it spoils nothing else."""

from __future__ import annotations

import gc
import json
import re
from typing import Any, Final

import msgspec

from dispatcher.intake.refused import Refused

_decode: Final = msgspec.json.Decoder().decode
_CONTAINERS: Final = frozenset({dict, list})
# Python takes quadratic time to read a number of many digits, and destinations read none of so many.
_MAX_DIGITS: Final = 300
# A whole pair of surrogates, one that stands alone, or any other escape, which is left as it is.
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def decode_body(body: bytes) -> Any:
    """The value of a body; or the refusal, a ``Refused``, of one that is not JSON or that nests beyond any reader.

    JavaScript sends half an emoji as an escape that stands for no character, and other clients send NaN, control
    characters in text, or bytes that are not UTF-8: none of it is JSON (RFC 8259). Half an emoji and such bytes become
    U+FFFD. NaN, Infinity and numbers of thousands of digits become a float that is not finite, for which emit refuses
    that one event.
    """
    try:
        return _decode(body)
    except RecursionError:
        return Refused(400, "too_deep", "the body nests too deeply: flatten it")
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        text = _ESCAPES.sub(lambda found: r"\ufffd" if found["alone"] else found[0], body.decode("utf-8", "replace"))
        return json.loads(
            text, strict=False, parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else float("nan")
        )
    except RecursionError:
        return Refused(400, "too_deep", "the body nests too deeply: flatten it")
    except ValueError:
        return Refused(400, "not_json", "the body must be JSON")


def count_brackets(body: bytes) -> int:
    """How many objects and lists JSON has at most, in text too: it nests no deeper than that. Takes no time."""
    return body.count(b"{") + body.count(b"[")


def nests_deeper(value: object, limit: int) -> bool:
    """Whether decoded JSON has more than ``limit`` objects and lists within one another, with ``value`` itself."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(limit):
        if not level:
            return False
        # What a container holds, found without a loop of Python over its items.
        level = [item for item in gc.get_referents(*level) if type(item) in _CONTAINERS]
    return bool(level)
