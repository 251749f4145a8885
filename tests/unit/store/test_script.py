"""Scripts are made of parts, and each has all the parts that it needs."""

from __future__ import annotations

import re

import pytest

from dispatcher.store.script import SCRIPTS, Script

#: What a script calls without having defined it.
LUA = {
    "pcall",
    "type",
    "tonumber",
    "tostring",
    "ipairs",
    "pairs",
    "unpack",
    "function",
    "and",
    "or",
    "not",
    "if",
    "in",
    "while",
}


def code_of(script: Script) -> str:
    """Without comments and texts."""
    return re.sub(r"--[^\n]*|'[^'\n]*'", "", script.text.decode())


def definitions(code: str) -> dict[str, int]:
    """Functions, and constants at the outermost level, with where each is defined."""
    found: dict[str, int] = {}
    for match in re.finditer(r"local function (\w+)|^local ([A-Z_, ]+) =", code, re.MULTILINE):
        found.update((name, match.start()) for name in (match[1] or match[2]).split(", "))
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_scripts_define_each_function_and_constant_before_its_first_use(script: Script) -> None:
    code = code_of(script)
    defined = definitions(code)
    for match in re.finditer(r"(?<![.\w:])(?:([a-z_]+)\(|([A-Z]+_[A-Z_]+|STATES|PAGE)\b)", code):
        name = match[1] or match[2]
        assert name in LUA or defined.get(name, len(code)) <= match.start(), name
