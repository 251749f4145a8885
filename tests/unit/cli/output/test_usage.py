"""Usage errors: the option and what is wanted, never the value that was typed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from dispatcher.cli import main

TYPED = [
    ("emit", "a.b", "--data", '{"password": "HUSH"'),
    ("emit", "a.b", "--data", '["HUSH"]'),
    ("emit", "a.b", "--data", '"HUSH"'),
    ("emit", "a.b", "--context", "HUSH"),
    ("emit", "a.b", "--timeout", "redis://:HUSH@h"),
    ("emit", "a.b", "--timeout", "HUSH is not in the range HUSH"),
    ("emit", "a.b", "ada.HUSH@example.org"),
    ("emit", "--from", '{"password": "HUSH"}'),
    ("emit", "a.b", '--{"password": "HUSH"}'),
    ('{"password": "HUSH"}',),
    ("redis://:HUSH@h",),
    ("flower", "--port", "HUSH\nHUSH"),
    ("flower", "--basic-auth", "HUSH"),
    ("dead", "list", "--limit", "HUSH"),
    ("dead", "list", "--since", "HUSH"),
    ("dead", "redis://:HUSH@h"),
    ("pause", "segment", "--for", "HUSH"),
    ("relay", "--once", "--timeout", "HUSH"),
    ("status", "HUSH@example.org"),
]


@pytest.mark.parametrize("arguments", TYPED, ids=str)
def test_a_typed_value_is_not_repeated(arguments: tuple[str, ...]) -> None:
    outcome = CliRunner().invoke(main, arguments)

    assert outcome.exit_code == 2, outcome.output
    assert "HUSH" not in outcome.output
    assert "Error: " in outcome.output


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("statsu",), "'statsu'"),
        (("status", "--wach"), "--wach"),
        (("emit", "--from", "/no/such/file.jsonl"), "/no/such/file.jsonl"),
        (("flower", "--port", "70000"), "'--port': it is not in the range 1<=x<=65535"),
    ],
)
def test_names_paths_and_what_is_wanted_are_shown(arguments: tuple[str, ...], shown: str) -> None:
    assert shown in CliRunner().invoke(main, arguments).output
