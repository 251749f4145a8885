"""A search of every byte that a site has written, on disk and in Redis, for one person: Ada."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import zstandard

from dispatcher.store.packing import unpack
from tests.support.site import Site

#: Names that stand nowhere else, so that a search of all bytes finds them.
NEEDLES = [name.encode() for name in ("4200042", "ada_1815", "ada_old_1815", "lovelace")]


def places_with_ada(site: Site) -> list[str]:
    """Where she is: files and keys, looked into as far as they are packed."""
    ours = [
        path
        for path in site.directory.rglob("*")
        if path.is_file() and path.parent.name != "output" and path.suffix != ".toml"
    ]
    found = [str(path) for path in ours if path.name != "segment.jsonl" and has_ada(unpacked(path))]
    return sorted(found + [key for key, content in everything_in_redis(site) if has_ada(content)])


def everything_in_redis(site: Site) -> Iterator[tuple[str, bytes]]:
    with site.redis.client() as client:
        for key in client.scan_iter("*", count=1000):
            kind = client.type(key)
            if kind == b"hash":
                fields = client.hgetall(key)
                packed = fields.pop(b"packed", None)
                yield key.decode(), b"".join([*fields, *fields.values(), *(unpack(packed) if packed else ())])
            elif kind == b"stream":
                yield key.decode(), b"".join(value for _, pairs in client.xrange(key) for value in pairs.values())
            elif kind == b"zset":
                yield key.decode(), b"".join(client.zrange(key, 0, -1))
            elif kind == b"string":
                yield key.decode(), client.get(key) or b""


def has_ada(content: bytes) -> bool:
    return any(needle in content.lower() for needle in NEEDLES)


def unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    if content.startswith(b"PAR1"):
        return json.dumps(pq.read_table(path, partitioning=None).to_pylist(), default=str).encode()
    return content
