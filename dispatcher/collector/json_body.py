"""JSON body: the JSON of a request, and how deep it nests."""

from __future__ import annotations

import gc
from typing import Any, Final

import msgspec

from dispatcher.collector.route import Refused

_decode: Final = msgspec.json.Decoder().decode
_CONTAINERS: Final = frozenset({dict, list})


def decode_body(body: bytes) -> Any:
    """The value of a body; or the refusal, a ``Refused``, of one that is not JSON or that nests beyond any reader.

    NaN, Infinity, lone surrogates and bytes that are not UTF-8 are not JSON (RFC 8259).
    """
    try:
        return _decode(body)
    except RecursionError:
        return Refused(400, "too_deep", "the body nests too deeply: flatten it")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused(400, "not_json", "the body must be JSON")


def nests_deeper(value: object, limit: int) -> bool:
    """Whether decoded JSON has more than ``limit`` objects and lists within one another, with ``value`` itself."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(limit):
        if not level:
            return False
        # What a container holds, found without a loop of Python over its items.
        level = [item for item in gc.get_referents(*level) if type(item) in _CONTAINERS]
    return bool(level)
