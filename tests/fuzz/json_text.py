"""JSON text: values with what no encoder writes: keys that come twice, NaN, numbers of any length, half an emoji."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any, Final

#: More levels than that are refused as a whole.
MAX_TAKEN_DEPTH: Final = 900


@dataclass(frozen=True, slots=True)
class Raw:
    """Text that stands for itself, and how deep it nests."""

    text: bytes
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Pairs:
    """An object whose keys may come twice."""

    pairs: list[tuple[str, Any]]


def dump(value: Any) -> bytes:
    """The text of a value."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs | dict):
        pairs = value.pairs if isinstance(value, Pairs) else value.items()
        return b"{" + b",".join(dump(str(key)) + b":" + dump(item) for key, item in pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(dump, value)) + b"]"
    return json.dumps(value).encode()


def nested(depth: int, *, objects: bool = False) -> Raw:
    """Lists or objects within one another."""
    opening, closing = (b'{"a":', b"}") if objects else (b"[", b"]")
    return Raw(opening * depth + b"1" + closing * depth, depth)


_TIMES: Final = (
    *("1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    *("2026-02-30T00:00:00Z", "2026-01-01", "12:00", "2026-01-01T00:00:00.123456789Z", "now", "1e18", "-1"),
)
_TEXTS: Final = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\r\nX-Injected: 1",
        "null",
        "true",
        "0",
        "[]",
        "{}",
        '"',
        "\\",
        "é",
        "🙂",
        "\u202e",
        "\ufeff",
    ),
    *("\ud83d", "\udc00\ud800", "\x7f\x1b[31m", "../../etc/passwd", "<script>alert(1)</script>", "{{ 7 * 7 }}", "%s%n"),
    *(
        "${jndi:ldap://a}",
        "'; DROP TABLE a; --",
        "https://[",
        "http://a:b@c:99999999/é?#",
        "course-v1:a+b+c",
        "/courses/x/",
    ),
)
_KEYS: Final = (
    *(
        "",
        "__proto__",
        "constructor",
        "id",
        "type",
        "name",
        "data",
        "context",
        "key",
        "timestamp",
        "user_id",
        "username",
    ),
    *("event_source", "event_type", "collector_source", "tracker", "ip", "session", "\ud800", "\0", "a.b", "$ref", "é"),
)
_NUMBERS: Final = (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e-400", b"-0", b"1E5", b"1.0000000000000000000001")


def hostile(chance: Random) -> Any:
    """Any value that a client should not send."""
    return chance.choice(_MAKERS)(chance)


def hostile_text(chance: Random) -> str:
    """Text of the same sort."""
    text = chance.choice(_TEXTS + _TIMES)
    return text * chance.choice((1, 1, 1, 100)) if len(text) < 100 else text


_MAKERS: Final = (
    lambda chance: chance.choice((None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 1.5, 10**30)),
    lambda chance: Raw(chance.choice(_NUMBERS)),
    lambda chance: Raw(chance.choice((b"9", b"-9")) + b"9" * chance.choice((17, 310, 5_000, 200_000))),
    lambda chance: chance.choice(_TIMES),
    hostile_text,
    hostile_text,
    lambda chance: "x" * chance.choice((101, 256, 10_000, 40_000, 70_000)),
    lambda chance: Raw(
        b'"' + chance.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud83d", b"\\u0000", b"\t")) + b'"'
    ),
    lambda chance: nested(chance.choice((2, 30, 63, 64, 65, 66, 199, 500)), objects=chance.random() < 0.5),
    lambda chance: nested(chance.choice((990, 1_100, 10_000, 100_000)), objects=chance.random() < 0.5),
    lambda chance: chance.choice(([], {}, [None], [[]], {"": {}}, {"a": [1, {"b": None}]})),
    lambda chance: [0] * chance.choice((100, 3_000, 30_000)),
    lambda chance: {f"k{number}": number for number in range(chance.choice((100, 3_000)))},
    lambda chance: {chance.choice(_KEYS): chance.choice(_TEXTS)},
)


def depth_of(value: Any) -> int:
    """How deep the text of a value nests."""
    if isinstance(value, Raw):
        return value.depth
    items = [item for _, item in value.pairs] if isinstance(value, Pairs) else []
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else items
    return 1 + max(map(depth_of, items), default=0)


def mutate(value: Any, chance: Random) -> Any:
    """A copy with something of it replaced, removed, added, doubled, wrapped or moved."""
    if chance.random() < 0.05:
        return hostile(chance)
    path: list[Any] = []
    place = value
    # A place at any depth; most of them near the leaves.
    while isinstance(place, dict | list) and place and (not path or chance.random() < 0.75):
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        path.append(key)
        place = place[key]
    return _change(value, path, chance)


def _change(value: Any, path: list[Any], chance: Random) -> Any:
    if len(path) > 1:
        copy = value.copy()
        copy[path[0]] = _change(value[path[0]], path[1:], chance)
        return copy
    if not path:
        return hostile(chance)
    copy, key = value.copy(), path[0]
    what = chance.choice(("replace", "replace", "replace", "remove", "add", "double", "wrap", "move"))
    if what == "remove":
        del copy[key]
    elif what == "wrap":
        copy[key] = [copy[key]] if chance.random() < 0.5 else {"a": copy[key]}
    elif what == "move" and len(copy) > 1:
        copy[key] = chance.choice(list(copy.values()) if isinstance(copy, dict) else copy)
    elif isinstance(copy, dict) and what == "double":
        return Pairs([*copy.items(), (str(key), hostile(chance))])
    elif isinstance(copy, dict) and what == "add":
        copy[chance.choice(_KEYS)] = hostile(chance)
    else:
        copy[key] = hostile(chance)
    return copy
