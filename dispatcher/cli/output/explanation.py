"""Explanation: where an event goes, and why, on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

_OUTCOMES: Final = {"dead": "red", "filtered": "yellow"}

_highlight: Final = JSONHighlighter()


def print_explanation(console: Console, explanation: Mapping[str, Any]) -> None:
    """Print where an event goes and, if the explanation has it, what each destination would get.

    What would be sent is not wrapped, so that it can be copied; the terminal wraps it.

    Args:
        console: Where to print.
        explanation: In the form of ``explain --json``.
    """
    # As Text everywhere: brackets in a name or a path would otherwise be taken for markup.
    internal = " is internal (internal_events)" if explanation["internal"] else ""
    head = Text.assemble((explanation["name"], "bold"), internal)
    if "place" in explanation:
        head.append(f"  {explanation['place']}", style="dim")
    console.print(head)
    if (dropped := explanation.get("dropped")) is not None:
        console.print(Text(f"A processor drops it: {dropped}", style="yellow"))
    elif not explanation["destinations"]:
        console.print(Text("No destination is configured."))
    else:
        console.print(_table(explanation["destinations"]))
    for row in explanation["destinations"]:
        if row.get("preview"):
            _print_preview(console, row["destination"], row["preview"])
    if "place" in explanation:
        console.print()


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for row in rows:
        table.add_row(_answer(row), Text(row["destination"], style="bold"), _why(row))
    return table


def _answer(row: Mapping[str, Any]) -> Text:
    outcome = row.get("preview", {}).get("outcome")
    if not row["goes"]:
        return Text("no", style="red")
    return Text("yes", style="green") if outcome is None else Text(outcome, style=_OUTCOMES[outcome])


def _why(row: Mapping[str, Any]) -> Text:
    why = Text(row["why"] if row["entry"] is None else f"{row['why']}: {row['entry']}", overflow="fold")
    if row["nearest"]:
        why.append(f"; did you mean {row['nearest']}?", style="yellow")
    return why if row["source"] == "default" else why.append(f"\n{row['source']}", style="dim")


def _print_preview(console: Console, destination: str, preview: Mapping[str, Any]) -> None:
    console.print()
    console.rule(Text(destination, style="bold"), align="left", style="dim")
    _print_fate(console, preview)
    if "if_now" in preview:
        console.print()
        _print(console, Text("If it happened now:", style="bold"))
        _print_fate(console, preview["if_now"])


def _print_fate(console: Console, preview: Mapping[str, Any]) -> None:
    if "missing" in preview:
        _print(console, Text(f"It would wait: {preview['missing']}", style="yellow"))
    if "outcome" in preview:
        reason = Text.assemble((f"{preview['outcome']}: {preview['reason']}", _OUTCOMES[preview["outcome"]]))
        _print(console, reason if "error" not in preview else reason.append(f"\n{preview['error']}", style="default"))
    if "request" in preview:
        _print_request(console, preview["request"])
    if "line" in preview:
        _print(console, _highlight(Text(preview["line"])))
    if "calls" in preview:
        _print(console, Text(f"// acknowledged as {preview['id']}", style="dim"))
        for call in preview["calls"]:
            arguments = ", ".join(_pretty(argument) for argument in call["arguments"])
            _print(console, Text.assemble((call["call"], "bold"), "(", _highlight(Text(arguments)), ");"))
        if kept_back := preview.get("kept_back"):
            _print(console, Text(f"// kept back: {', '.join(kept_back)}", style="dim"))


def _print_request(console: Console, request: Mapping[str, Any]) -> None:
    _print(console, Text.assemble((request["method"], "bold green"), " ", (request["url"], "bold")))
    for name, value in request["headers"].items():
        _print(console, Text.assemble((f"{name}: ", "cyan"), value))
    body = request["body"]
    if body == "":
        return
    console.print()
    _print(console, _highlight(Text(body if isinstance(body, str) else _pretty(body))))


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
