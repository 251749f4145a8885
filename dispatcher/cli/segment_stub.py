"""``dispatcher segment-stub``: the local stand-in for Segment as a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dispatcher.cli.output.server import serve_until_stopped
from dispatcher.local.segment_stub import SegmentStub


@click.command("segment-stub", hidden=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="0 finds a free one.")
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="Append each message to this file, one a line."
)
@click.option("--quiet", is_flag=True, help="Print the address only, not a line for each request.")
def segment_stub(port: int, file: Path | None, quiet: bool) -> None:
    """Stand in for Segment on this machine. Prints its address first; SIGTERM or Ctrl-C stops it."""
    serve_until_stopped(
        lambda: SegmentStub(port=port, file=file, on_request=None if quiet else click.echo),
        explain=lambda error: f"the stub cannot start: {error}; give a free --port and a --file that can be written",
    )


@click.command("sink", hidden=True, params=segment_stub.params)
@click.pass_context
def sink(context: click.Context, /, **options: Any) -> None:
    """The former name of segment-stub."""
    click.echo("Warning: `dispatcher sink` is called `dispatcher segment-stub` now", err=True)
    context.invoke(segment_stub, **options)
