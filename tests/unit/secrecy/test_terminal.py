"""What is printed cannot control the terminal, and prints in any encoding."""

from __future__ import annotations

import io
import sys

import pytest
from rich.table import Table
from rich.text import Text

from dispatcher.secrecy.terminal import TerminalConsole, echo, printable

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eabc\u2028"


def test_echo_prints_no_control(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"one\n{HOSTILE}")
    echo(HOSTILE, err=True)

    out, err = capsys.readouterr()
    assert out == "one\n\\x1b]0;owned\\x07\\x9b31m\\u202eabc\\u2028\n"
    assert err == "\\x1b]0;owned\\x07\\x9b31m\\u202eabc\\u2028\n"


def test_a_console_prints_no_control_wherever_a_text_stands() -> None:
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE, style="red"), HOSTILE)
    stream = io.StringIO()
    console = TerminalConsole(file=stream, force_terminal=True, width=200)

    console.print(HOSTILE, markup=False)
    console.print(table)
    console.rule(HOSTILE)

    shown = stream.getvalue()
    assert "\\x1b]0;owned" in shown
    assert "\x1b]" not in shown
    assert not set("\x07\x9b\u202e\u2028") & set(shown)
    assert "\x1b[31m" in shown, "its own colours stay"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "no-such-encoding"])
def test_what_an_encoding_cannot_express_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    name = "ascii" if encoding.startswith("no") else encoding
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=name, write_through=True))

    echo("✓ 中")
    TerminalConsole().print("✓ 中")

    assert raw.getvalue().decode(name) == "\\u2713 \\u4e2d\n" * 2
    assert printable("✓", encoding) == "\\u2713"
