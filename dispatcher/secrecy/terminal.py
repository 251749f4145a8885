"""Terminal: the one way to a terminal. What is printed cannot control it, and prints in any encoding."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from dispatcher.secrecy.safe_text import safe_lines


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a text and a line feed, as ``click.echo`` does. Line feeds stay, other controls are escaped.

    Args:
        text: May hold what somebody else wrote, without any markup or colour of ours.
        err: To stderr in place of stdout.
    """
    stream = sys.stderr if err else sys.stdout
    click.echo(printable(text, getattr(stream, "encoding", None)), err=err)


def printable(text: str, encoding: str | None) -> str:
    """The text as a terminal of that encoding may have it: what it cannot express is written as ``\\u2713``.

    Args:
        text: Anything.
        encoding: The stream's; None stands for UTF-8.
    """
    text = safe_lines(text)
    if text.isascii():
        return text
    try:
        return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
    except LookupError:  # an encoding that Python does not know
        return text.encode("ascii", "backslashreplace").decode()


class TerminalConsole(Console):
    """Rich's console, whose texts are made printable one after another; its own colours and cursor movements stay.

    Overrides, of rich 13.9: render, through which everything is printed, whatever it is nested in.

    Args:
        options: As of rich's console. Without ``highlight``, numbers in texts get no colours.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, as rich writes them."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, self.encoding), segment.style)
