"""File progress: how far a file of events was read, on standard error."""

from __future__ import annotations

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from dispatcher.secrecy.terminal import Console


def file_progress() -> Progress:
    """A bar of bytes that disappears at its end. Its tasks have a field ``events``: how many were read."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
