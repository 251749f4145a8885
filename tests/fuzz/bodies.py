"""Bodies: requests that are good HTTP, with bodies, queries and headers of which something is wrong."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from tests.fuzz.attack import MAX_TAKEN_BYTES, Attack, Make, Seed
from tests.fuzz.json_text import MAX_TAKEN_DEPTH, Pairs, depth_of, dump, hostile_text, mutate

_TAKEN: Final = frozenset({200})
_HEADERS: Final = (
    *("Origin", "Referer", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "Authorization", "Cookie"),
    *("Content-Type", "Accept-Language", "If-None-Match", "Access-Control-Request-Headers", "X-Forwarded-Host"),
)

#: The names of the strategies.
BODIES: Final = ("wrong_values", "wrong_item", "wrong_headers", "packed", "not_json", "many_fields")


def make_bodies(seeds: Sequence[Seed]) -> dict[str, Make]:
    """The strategies, by name.

    Args:
        seeds: What the target takes.
    """
    posted = [seed for seed in seeds if seed.body is not None]
    in_lists = [seed for seed in posted if seed.items is not None]

    def wrong_values(chance: Random, number: int) -> Attack:
        seed = chance.choice(posted)
        body = seed.body
        for _ in range(chance.choice((1, 1, 2, 4))):
            # What was made of it may have no places any more.
            body = mutate(body, chance) if isinstance(body, dict | list) else body
        return _ask(seed, seed.render(body))

    def wrong_item(chance: Random, number: int) -> Attack:
        seed = chance.choice(in_lists)
        name, make_item = seed.items or ("", dict)
        keys = (f"a{number}", f"b{number}")
        item: Any = make_item(f"bad{number}") | {"name": "fuzz.bad", "event": "fuzz.bad"}
        for _ in range(chance.choice((1, 1, 2, 4))):
            item = mutate(item, chance) if isinstance(item, dict) else item
        body = seed.body | {name: [make_item(keys[0]), item, make_item(keys[1])]}
        request = seed.render(body)
        is_taken = len(request) < MAX_TAKEN_BYTES and depth_of(body) < MAX_TAKEN_DEPTH
        statuses = _TAKEN if is_taken else frozenset[int]()
        return _ask(seed, request, statuses=statuses, unharmed=keys)

    def wrong_headers(chance: Random, number: int) -> Attack:
        seed = chance.choice(seeds)
        lines = b""
        for _ in range(chance.choice((1, 2, 5))):
            value = hostile_text(chance).encode("utf-8", "replace")
            # What HTTP itself forbids is another strategy.
            value = bytes(byte for byte in value if byte >= 32 and byte != 127)[:5_000]
            lines += chance.choice(_HEADERS).encode() + b": " + value + b"\r\n"
        return _ask(seed, seed.render(seed.body, more=lines))

    def packed(chance: Random, number: int) -> Attack:
        seed = chance.choice([seed for seed in posted if seed.form == "json"])
        content = chance.choice((dump(seed.body), dump(mutate(seed.body, chance)), bytes(3_000_000), b""))
        body = chance.choice((gzip.compress, zlib.compress, lambda data: zlib.compress(data)[2:-4]))(content)
        if chance.random() < 0.5:
            place = chance.randrange(len(body))
            body = chance.choice((body[:place], body + body, body[:place] + b"\xff" + body[place:]))
        encoding = chance.choice((b"gzip", b"deflate", b"GZIP", b"x-gzip", b"br", b"gzip, gzip", b"", b"identity"))
        request = seed.render(seed.body, more=b"Content-Encoding: %b\r\n" % encoding, length=str(len(body)).encode())
        return _ask(seed, request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body)

    def not_json(chance: Random, number: int) -> Attack:
        seed = chance.choice([seed for seed in posted if seed.form == "json"])
        text = dump(mutate(seed.body, chance))
        place = chance.randrange(len(text) + 1)
        body = chance.choice(
            (
                *(text[:place], text[:place] + chance.randbytes(5) + text[place:], b"\xef\xbb\xbf" + text, text * 2),
                *(text.decode("latin-1").encode("utf-16"), b"[" * place, b'"' * place, chance.randbytes(place), b""),
            )
        )
        request = seed.render(seed.body, length=str(len(body)).encode())
        return _ask(seed, request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body)

    def many_fields(chance: Random, number: int) -> Attack:
        seed = chance.choice(posted)
        count = chance.choice((99, 101, 5_000))
        fields = Pairs([(chance.choice("abc") * chance.randrange(20), hostile_text(chance)) for _ in range(count)])
        request = seed.render(dict(fields.pairs) if seed.form in ("form", "query") else fields)
        return _ask(seed, request)

    strategies = (wrong_values, wrong_item, wrong_headers, packed, not_json, many_fields)
    made = dict(zip(BODIES, strategies, strict=True))
    if not in_lists:
        del made["wrong_item"]
    return made


def _ask(seed: Seed, request: bytes, **more: Any) -> Attack:
    # A head beyond 64 KiB is no business of the route.
    is_whole = len(request.partition(b"\r\n\r\n")[0]) < 60_000
    return Attack(
        kind="",
        parts=(request,),
        answers=1 if is_whole else 0,
        call=(seed.method, seed.path) if is_whole else None,
        **more,
    )
