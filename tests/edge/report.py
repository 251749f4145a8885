"""Report: what was counted, as a file that later runs add to, and as the tables of docs/edge.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.edge.cell import CELLS, Count
from tests.edge.client import CLIENTS, OURS
from tests.edge.sizes import sizes

#: The lines of docs/edge.md between which the tables stand.
MARKS: Final = ("<!-- the tables of make edge begin -->", "<!-- the tables of make edge end -->")

#: What a results file has: the browser, and by client its version and its counts by cell.
Results = dict[str, Any]


def read(file: Path) -> Results:
    """The results so far; none where the file does not exist."""
    return json.loads(file.read_bytes()) if file.exists() else {}  # type: ignore[no-any-return]


def add(results: Results, client: str, counts: Mapping[str, Count], browser: str) -> None:
    """Put counts in, in the place of earlier ones of the same cells."""
    results |= {"browser": browser, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    entry = results.setdefault("clients", {}).setdefault(client, {"cells": {}})
    entry["version"] = CLIENTS[client].version
    for name, count in counts.items():
        entry["cells"][name] = {key: value for key, value in asdict(count).items() if key != "names"}


def write(results: Results, file: Path) -> None:
    """Write the results file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")


def table(results: Results) -> Table:
    """The counts for a terminal."""
    made = Table(title="clicks that arrived exactly once")
    names = _clients(results)
    made.add_column("cell")
    for name in names:
        made.add_column(name, justify="right")
    for cell in CELLS.values():
        made.add_row(cell.title, *(_text(results, name, cell.name) for name in names))
    return made


def markdown(results: Results) -> str:
    """The tables of docs/edge.md."""
    names = _clients(results)
    lines = [
        f"Chromium {results['browser']}, headless; the last cell was played on {results['at'][:10]}.",
        "",
        f"| What happens | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for cell in CELLS.values():
        lines.append(f"| {cell.title} | {' | '.join(_text(results, name, cell.name) for name in names)} |")
    lines += ["", "| Client | Version | What is set |", "|---|---|---|"]
    for name in names:
        client = CLIENTS[name]
        package = f"{client.package} {results['clients'][name]['version']}" if client.package else "this one"
        lines.append(f"| {name} | {package} | {client.settings} |")
    lines += ["", "| Cell | The visitor … |", "|---|---|"]
    lines += [f"| `{cell.name}` | {cell.what} |" for cell in CELLS.values()]
    lines += ["", "| Script | Bytes | gzip -9 | |", "|---|---:|---:|---|"]
    lines += [f"| {size.name} | {size.raw:,} | {size.compressed:,} | {size.what} |" for size in sizes()]
    return "\n".join(lines)


def failures(results: Results) -> Iterator[str]:
    """The cells in which ours lost a click or had one twice."""
    for name, count in results.get("clients", {}).get(OURS, {"cells": {}})["cells"].items():
        if count["once"] != count["clicks"]:
            yield f"{name}: of {count['clicks']} clicks {count['lost']} lost, {count['doubled']} doubled"


def _clients(results: Results) -> list[str]:
    return [name for name in CLIENTS if name in results["clients"]]


def _text(results: Results, client: str, cell: str) -> str:
    """Such as "50 of 50", or "44 of 50 (6 lost; 41 at once)"."""
    count = results["clients"][client]["cells"].get(cell)
    if count is None:
        return "not played"
    notes = [f"{count[kind]} {kind}" for kind in ("lost", "doubled") if count[kind]]
    if count["at_once"] != count["once"]:
        notes.append(f"{count['at_once']} at once")
    return f"{count['once']} of {count['clicks']}" + (f" ({', '.join(notes)})" if notes else "")
