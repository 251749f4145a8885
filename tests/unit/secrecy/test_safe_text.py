"""What somebody else wrote can neither control a terminal nor break a line, in any format."""

from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest

from dispatcher.secrecy.safe_text import escape_payload, foreign_text, one_line, safe_lines, shorten, to_json

ESC = "\x1b"
BREAKS = [text for text in map(chr, range(0x3000)) if len(f"a{text}b".splitlines()) == 2]
BIDI = [text for text in map(chr, range(0x3000)) if unicodedata.bidirectional(text)[-1:] in {"E", "O", "F", "I"}]
CONTROLS = [text for text in map(chr, range(0x3000)) if unicodedata.category(text) == "Cc"]
HOSTILE = sorted({*BREAKS, *BIDI, *CONTROLS, "\u200b", "\u200e", "\u061c", "\ufeff", "\U000e0041", "\ud800"})


@pytest.mark.parametrize("character", HOSTILE, ids=ascii)
def test_no_character_that_does_something_stands_raw(character: str) -> None:
    text = f"a{character}b"

    assert character not in one_line(text)
    assert character not in foreign_text(text)
    assert len(to_json({text: [text]}).splitlines()) == 1
    assert character not in to_json({text: [text]})
    assert json.loads(to_json({text: [text]})) == {text: [text]}
    if character not in "\t\n":
        assert character not in safe_lines(text)


def test_letters_of_all_scripts_stay() -> None:
    text = "Ünïcode — 中文 — עברית — a\u200cb — 👩\u200d💻\n\tline"

    assert safe_lines(text) == text
    assert json.loads(to_json(text, indent=2)) == text
    assert "中文" in to_json(text)


@pytest.mark.parametrize("character", [one for one in HOSTILE if one != "\ud800"], ids=ascii)
def test_no_payload_holds_what_ends_a_line(character: str) -> None:
    payload = msgspec.json.encode({character: character, "letter": "é"})

    escaped = escape_payload(payload)

    assert len(escaped.decode().splitlines()) == 1
    assert msgspec.json.decode(escaped) == msgspec.json.decode(payload)
    plain = msgspec.json.encode({"name": "é"})
    assert escape_payload(plain) == plain


def test_an_escape_sequence_shows_as_what_it_is() -> None:
    assert one_line(f"{ESC}[31mred{ESC}]0;title\x07\n\u2028 next\u202e") == (
        "\\u001b[31mred\\u001b]0;title\\u0007  next\\u202e"
    )


def test_the_middle_of_a_long_text_gives_way() -> None:
    text = "begin " + "x" * 1000 + " the cause"

    assert len(shorten(text, 50)) == 50
    assert shorten(text, 50).startswith("begin ")
    assert shorten(text, 50).endswith(" the cause")
    assert one_line(text, 50) == shorten(text, 50)
    assert shorten("short", 50) == "short"


def test_a_foreign_text_is_masked_before_it_is_cut() -> None:
    text = f"GET https://h/?api_key={'k' * 500}&x=1 of ada@example.org failed\nbecause"

    assert foreign_text(text) == "GET https://h/?api_key=***&x=1 of *** failed because"
