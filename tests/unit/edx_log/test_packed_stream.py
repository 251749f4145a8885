"""What a compressed file holds, whole, cut off and damaged."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable

import pytest
import zstandard

from dispatcher.edx_log.packed_stream import MAGIC_BYTES, is_packed, open_packed

CONTENT = b"".join(os.urandom(20).hex().encode() + b"\n" for _ in range(20_000))
SMALL = b"a line\n" * 9


def cut_in_two(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda content: pack(content[: len(content) // 2]) + pack(content[len(content) // 2 :])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip, two members": cut_in_two(gzip.compress),
    "gzip, zeros behind": lambda content: gzip.compress(content) + bytes(5000),
    "gzip, zeros between": cut_in_two(lambda part: gzip.compress(part) + bytes(600)),
    "zstd": zstandard.compress,
    "zstd, two frames": cut_in_two(zstandard.compress),
}


def read(packed: bytes) -> tuple[bytes, type[BaseException] | None]:
    """What comes of it, in pieces, and the error behind that."""
    raw = io.BytesIO(packed)
    stream = open_packed(raw, packed[:MAGIC_BYTES])
    assert stream is not None
    found = b""
    buffered = io.BufferedReader(stream, 512)
    try:
        while piece := buffered.read1(300):
            found += piece
    except (EOFError, OSError) as error:
        return found, type(error)
    return found, None


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("content", [b"", SMALL, CONTENT], ids=["empty", "small", "large"])
def test_all_that_was_packed_comes_out(pack: Callable[[bytes], bytes], content: bytes) -> None:
    assert read(pack(content)) == (content, None)


@pytest.mark.parametrize("pack", [PACKERS["gzip"], PACKERS["zstd"]], ids=["gzip", "zstd"])
def test_what_is_in_front_of_a_cut_comes_out(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(CONTENT)
    found, error = read(packed[: len(packed) // 2])
    assert (error, CONTENT.startswith(found)) == (EOFError, True)
    # zstd decompresses blocks of 128 KiB.
    assert len(found) > len(CONTENT) // 2 - 140_000


def test_a_small_file_without_its_checksum_comes_out() -> None:
    assert read(gzip.compress(SMALL)[:-5]) == (SMALL, EOFError)


@pytest.mark.parametrize(
    "pack",
    # As the program zstd does it; without a checksum nobody knows.
    [PACKERS["gzip"], zstandard.ZstdCompressor(write_checksum=True).compress],
    ids=["gzip", "zstd"],
)
def test_a_damage_is_an_error_behind_what_is_whole(pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(CONTENT))
    middle = len(packed) // 2
    packed[middle : middle + 3000] = bytes(3000)
    found, error = read(bytes(packed))
    assert error is OSError
    assert len(found) < len(CONTENT)
    assert CONTENT.startswith(found[:100_000])


def test_what_is_not_packed_is_left_alone() -> None:
    for start in (b"", b"{", b"\x1f", b"\x28\xb5\x2f"):
        assert not is_packed(start)
        assert open_packed(io.BytesIO(start), start) is None
