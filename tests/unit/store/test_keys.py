"""Every key in Redis is known by one file, and the heads of the scripts say the same of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dispatcher.store.keys import BATCH, COUNTS, KEYS, RATE, Key
from tests.support.redis_keys import owner_of

ROOT = Path(__file__).parents[3]
LUA = ROOT / "dispatcher/store/lua"
SCRIPTS = sorted(LUA.rglob("*.lua"))


def table(script: str) -> dict[str, str]:
    """What the head of a script says of each key: the words behind its name, however the lines are broken."""
    found: dict[str, str] = {}
    last = ""
    for line in (LUA / script).read_text().partition("dispatcher/store/keys.py:\n")[2].splitlines():
        match = re.fullmatch(r"--   (\S+)? +(\S.*)", line)
        if match is None:
            break
        name, words = match.groups()
        if name is None:
            found[last] += f" {words}"
        else:
            last = name
            found[last] = words
    return found


def said_of(*keys: Key) -> dict[str, str]:
    return {key.name: f"{key.type}: {key.contents}" for key in keys}


def test_the_heads_of_the_scripts_describe_the_keys_as_the_table_does() -> None:
    assert table("parts/head.lua") == said_of(*KEYS)
    assert table("rate_limit.lua") == said_of(RATE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_use_only_known_keys(script: Path) -> None:
    for name in re.findall(r"\bkey\('([^']+)'", script.read_text()):
        owner_of(f"dispatcher:{{segment}}:{name}")


def test_no_two_keys_have_the_same_name() -> None:
    names = [key.name.partition("<")[0] for key in KEYS]
    assert len(names) == len(set(names))


def test_only_one_file_builds_keys() -> None:
    folders = ("dispatcher", "tasks", "tests")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    builders = [path for path in sources if re.search(r"dispatcher:\{\{?\{|dispatcher:none", path.read_text())]
    assert builders == [ROOT / "dispatcher/store/keys.py"]


def test_a_key_has_its_destination_in_it_and_gives_it_back() -> None:
    assert COUNTS.of("segment") == "dispatcher:{segment}:counts"
    assert BATCH.of("segment", "7-a-0") == "dispatcher:{segment}:batch:7-a-0"
    assert COUNTS.destination_of(COUNTS.of("seg:ment")) == "seg:ment"
