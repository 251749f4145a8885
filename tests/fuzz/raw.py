"""Raw: bytes that are HTTP only in part, or are sent as no friendly client would."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from tests.fuzz.attack import Attack, Make, Seed
from tests.fuzz.json_text import dump

_GOOD: Final = frozenset({200})
_METHODS: Final = (
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"M-SEARCH",
    b"get",
    b"POST POST",
    b"",
    b"OPTIONS",
)
_TARGETS: Final = (
    *(b"*", b"/", b"//", b"/%", b"/%ff%00", b"/\xff", b"/../../etc/passwd", b"http://a/healthz", b"a:80", b"?", b"#"),
    *(
        b"/v1/projects/%0d%0a/settings",
        b"/v1/projects//settings",
        b"/v1/pixel/",
        b"/v1/batch/",
        b"/healthz?" + b"a=1&" * 5_000,
    ),
    *(b"/openapi.json\x00", b"/" + b"a" * 30_000, b"/v1/batch;a=b", b"/tracker.js/..", b"/logger-help.html?<script>"),
)
_LENGTHS: Final = (
    b"-1",
    b"+5",
    b"0x10",
    b"1e3",
    b"5, 5",
    b"9" * 30,
    b"9999999999",
    b"",
    b" ",
    b"5\x005",
    b"00000000000000005",
)
_VERSIONS: Final = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.9", b"HTTP/1.1 ", b"", b"http/1.1", b"ICY/1.0")
_LINES: Final = (
    *(
        b"Expect: 100-continue",
        b"Expect: 200-ok",
        b"Upgrade: h2c\r\nConnection: Upgrade",
        b"Upgrade: websocket",
        b"Connection: close",
    ),
    *(
        b"Connection: upgrade, keep-alive",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"TE: trailers",
    ),
    *(
        b"Host: a\r\nHost: b",
        b" folded: a",
        b"a : b",
        b": no name",
        b"a\x00b: c",
        b"\xff: \xff",
        b"a: b\rc",
        b"X: " + b"\xe9" * 9_000,
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Content-Length: 1",
        b"Content-Encoding: gzip",
        b"X-Forwarded-For: " + b"1.2.3.4, " * 1_000,
    ),
)


def make_raw(seeds: Sequence[Seed]) -> dict[str, Make]:
    """The strategies, by name.

    Args:
        seeds: What the target takes.
    """
    requests = [seed.render(seed.body) for seed in seeds if seed.method != "HEAD"]
    posted = [seed for seed in seeds if seed.form == "json" and seed.method == "POST"]

    def random_bytes(chance: Random, number: int) -> Attack:
        data = chance.randbytes(chance.choice((1, 10, 1_000, 70_000)))
        return _attack(chance, chance.choice((b"", b"GET ", b"POST /v1/batch HTTP/1.1\r\n", b"\x16\x03\x01")) + data)

    def cut_off(chance: Random, number: int) -> Attack:
        request = chance.choice(requests)
        end = chance.choice(("read", "half", "reset"))
        return _attack(chance, request[: chance.randrange(len(request))], end=end)

    def flipped(chance: Random, number: int) -> Attack:
        data = bytearray(chance.choice(requests) * chance.choice((1, 1, 3)))
        for _ in range(chance.choice((1, 3, 20))):
            place, length = chance.randrange(len(data) or 1), chance.choice((1, 1, 2, 30))
            data[place : place + chance.choice((0, length))] = chance.choice(
                (
                    b"",
                    chance.randbytes(length),
                    b"\r\n",
                    b"\n",
                    b"\0",
                    b" ",
                    b":",
                    bytes(data[place : place + length]) * 2,
                )
            )
        return _attack(chance, bytes(data))

    def ahead(chance: Random, number: int) -> Attack:
        count = chance.choice((2, 5, 60))
        stream = b"".join(chance.choices(requests, k=count))
        return Attack(kind="", parts=_cut(chance, stream), answers=count, statuses=_GOOD)

    def far_ahead(chance: Random, number: int) -> Attack:
        return _attack(chance, chance.choice(requests) * 2_000, end=chance.choice(("read", "reset", "deaf")))

    def chunks(chance: Random, number: int) -> Attack:
        seed = chance.choice(posted)
        rest, stream = dump(seed.body), b""
        while rest:
            size = chance.choice((1, 7, 100, len(rest)))
            part, rest = rest[:size], rest[size:]
            stream += b"%x%b\r\n%b\r\n" % (len(part), b";a=b" * chance.choice((0, 0, 0, 1, 5_000)), part)
        stream += b"0\r\n%b\r\n" % (b"Trailer: a\r\n" * chance.choice((0, 0, 1, 3_000)))
        if chance.random() < 0.5:
            place = chance.randrange(len(stream))
            stream = stream[:place] + chance.choice((b"z", b"fffffffffffffffff\r\n", b"-1\r\n", b"\n")) + stream[place:]
        head = seed.render(None, more=b"Transfer-Encoding: chunked\r\n", length=b"").partition(b"\r\n\r\n")[0]
        return _attack(chance, head + b"\r\n\r\n" + stream)

    def wrong_length(chance: Random, number: int) -> Attack:
        seed = chance.choice(posted)
        right = len(dump(seed.body))
        near = (b"%d" % max(0, right + chance.choice((-right, -5, 5, 1_000))),)
        more = chance.choice((b"", b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"))
        request = seed.render(seed.body, more=more, length=chance.choice(_LENGTHS + near * 5))
        return _attack(chance, request + chance.choice((b"", chance.choice(requests))))

    def large(chance: Random, number: int) -> Attack:
        seed, size = chance.choice(posted), chance.choice((600_000, 3_000_000, 10_000_000))
        head = seed.render(None, length=b"%d" % size).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        return Attack(kind="", parts=(head, *[b" " * 65_536] * chance.choice((1, 10, size // 65_536))), end="half")

    def long_head(chance: Random, number: int) -> Attack:
        line = chance.choice(
            (b"X-Long: %b\r\n" % (b"a" * 100_000), b"X: y\r\n" * 20_000, b"X-%d: y\r\n" % number * 900)
        )
        return _attack(chance, b"GET /healthz HTTP/1.1\r\n" + line + b"\r\n")

    def odd_head(chance: Random, number: int) -> Attack:
        first, _, rest = chance.choice(requests).partition(b"\r\n")
        words = first.split(b" ")
        place, odd = chance.choice(((0, _METHODS), (1, _TARGETS), (2, _VERSIONS)))
        words[place] = chance.choice(odd)
        lines = b"".join(line + b"\r\n" for line in chance.sample(_LINES, chance.choice((0, 1, 3))))
        return _attack(chance, b" ".join(words) + b"\r\n" + lines + rest)

    def slow(chance: Random, number: int) -> Attack:
        request = chance.choice(requests)
        places = sorted(chance.sample(range(1, len(request)), 10))
        parts = tuple(request[start:end] for start, end in zip([0, *places], [*places, len(request)], strict=True))
        return Attack(kind="", parts=parts, pause_seconds=chance.choice((0.02, 0.2)))

    strategies = (
        random_bytes,
        cut_off,
        flipped,
        ahead,
        far_ahead,
        chunks,
        wrong_length,
        large,
        long_head,
        odd_head,
        slow,
    )
    return {strategy.__name__: strategy for strategy in strategies}


def _attack(chance: Random, data: bytes, *, end: str | None = None) -> Attack:
    chosen = end or chance.choice(("read", "read", "half"))
    return Attack(kind="", parts=_cut(chance, data), end=chosen)  # type: ignore[arg-type]


def _cut(chance: Random, data: bytes) -> tuple[bytes, ...]:
    """In one part, or in a few."""
    if chance.random() < 0.6 or len(data) < 2:
        return (data,)
    places = sorted(chance.sample(range(1, len(data)), min(len(data) - 1, chance.choice((1, 3, 10)))))
    return tuple(data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True))
