"""Terminal: the one way to a terminal. What is printed cannot control it, and prints in any encoding.

Everything goes through ``guarded``: click's messages, errors, and prints of code that is not ours. ``Console`` alone
passes it, since it writes escape sequences itself: its texts are made safe one after another.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich import console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from dispatcher.secrecy.safe_text import safe_lines


class Guard:
    """A text stream that writes no control characters to another one but line feeds and tabs.

    Args:
        unguarded: The stream that is written to; everything else that is asked of this one is answered by it.
    """

    def __init__(self, unguarded: Any) -> None:
        self.unguarded = unguarded

    def write(self, text: str) -> int:
        """Write the text as ``safe_lines`` makes it. Returns how many characters were given, as streams do."""
        self.unguarded.write(safe_lines(text, getattr(self.unguarded, "encoding", None)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after another."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            # click writes past a text stream of ASCII, into its bytes.
            raise AttributeError(name)
        return getattr(self.unguarded, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Have stdout and stderr of this process write no control characters while it lasts."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Guard(sys.stdout), Guard(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class Console(console.Console):
    """Rich's console, whose texts are made safe one after another; its own colours and cursor movements stay.

    Overrides, of rich 13.9 to 14: file; and render, through which everything is printed, whatever it is nested in.
    """

    @property
    def file(self) -> IO[str]:
        """The stream that it writes to, without a guard."""
        stream: Any = super().file
        while (inner := getattr(stream, "rich_proxied_file", None) or getattr(stream, "unguarded", None)) is not None:
            stream = inner
        return stream  # type: ignore[no-any-return]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, as rich writes them."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(safe_lines(segment.text, self.encoding), segment.style)
