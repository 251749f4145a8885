"""What is printed cannot control the terminal, and prints in any encoding."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import click
import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

import dispatcher
from dispatcher.cli import main
from dispatcher.secrecy.terminal import Console, guarded

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eabc\u2028"
ESCAPED = "\\u001b]0;owned\\u0007\\u009b31m\\u202eabc\\u2028"


def test_nothing_that_is_printed_has_a_control(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        print(f"one\t{HOSTILE}")
        click.echo(HOSTILE, err=True)
        sys.stdout.writelines([HOSTILE, "\n"])
        click.echo(json.dumps({"a": f"\x7f{HOSTILE}\U000e0041"}, ensure_ascii=False))

    out, err = capsys.readouterr()
    *lines, as_json = out.split("\n")[:-1]
    assert lines == [f"one\t{ESCAPED}", ESCAPED]
    assert err == f"{ESCAPED}\n"
    assert json.loads(as_json) == {"a": f"\x7f{HOSTILE}\U000e0041"}
    assert as_json.isprintable()


@pytest.mark.parametrize("live", [False, True])
def test_a_console_prints_no_control_wherever_a_text_stands(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE, style="red"), HOSTILE)
    monkeypatch.setattr(sys, "stdout", stream := io.StringIO())

    with guarded():
        console = Console(force_terminal=True, width=200)
        if live:
            with Live(table, console=console, auto_refresh=False):
                print(HOSTILE)
        console.print(HOSTILE, markup=False)
        console.print(table)
        console.rule(HOSTILE)

    shown = stream.getvalue()
    assert "\\u001b]0;owned" in shown
    assert "\x1b]" not in shown
    assert not set("\x07\x9b\u202e\u2028") & set(shown)
    assert "\x1b[31m" in shown, "its own colours stay"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_an_encoding_cannot_express_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))

    with guarded():
        click.echo("✓ 中")
        Console().print("✓ 中")

    assert raw.getvalue().decode(encoding) == "\\u2713 \\u4e2d\n" * 2


@pytest.mark.parametrize(
    "arguments", [[HOSTILE], ["dead", "list", f"--{HOSTILE}"], ["explain", HOSTILE, "--with", HOSTILE]]
)
def test_what_was_typed_wrongly_is_repeated_without_controls(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    out, err = capsys.readouterr()
    assert out + err
    assert (out + err).replace("\n", "").isprintable()


def test_every_command_prints_through_the_guarded_console() -> None:
    places = [place for room in ("cli", "local") for place in (Path(dispatcher.__file__).parent / room).rglob("*.py")]
    made = [
        place.name
        for place in places
        for node in ast.walk(ast.parse(place.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "rich.console"
        for name in node.names
        if name.name == "Console" and "Console(" in place.read_text().replace("def ", "")
    ]
    assert len(places) > 30
    assert made == [], "import Console from dispatcher.secrecy.terminal"
