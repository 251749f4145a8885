"""Fragments: the pieces of JavaScript in a file: all of a script; the script elements and handlers of a page.

Pages may be templates (Mako, Django, Underscore, EJS) or course content (OLX), where a script stands as it is, in
CDATA, or with its characters escaped. Each byte of a fragment knows the byte of the file that it is, so that what was
escaped or masked for the parser stays as it is in the file.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from dispatcher.collector.deprecations.codemod.rewrite import Grammar

_SCRIPTS: Final[dict[str, Grammar]] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".es6"), "javascript"),
    **dict.fromkeys((".ts", ".mts", ".cts"), "typescript"),
    ".tsx": "tsx",
}
_PAGES: Final = frozenset({".html", ".htm", ".xhtml", ".mako", ".underscore", ".ejs", ".vue", ".svelte", ".xml"})
#: Endings of the files that are read.
SUFFIXES: Final = frozenset({*_SCRIPTS, *_PAGES})

_PART: Final = re.compile(
    rb"""<!--.*?-->
    |<script\b(?P<attributes>[^>]*)(?<!/)>(?P<script>.*?)</script\s*>
    |&lt;script\b(?P<escaped_attributes>(?:(?!&gt;).)*)&gt;(?P<escaped>.*?)&lt;/script\s*&gt;
    |\son[a-z]+\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_TYPE: Final = re.compile(rb"""\btype\s*=\s*(?:["']|&quot;)?([\w./+-]+)""", re.IGNORECASE)
_LANGUAGE: Final = re.compile(rb"""\blang\s*=\s*["']?(tsx?)\b""", re.IGNORECASE)
_SCRIPT_TYPES: Final = re.compile(rb"(?:text|application)/(?:x-)?(?:java|ecma)script|module|text/(?:jsx|babel)", re.I)
_ENTITY: Final = re.compile(rb"&(?:[a-zA-Z]+|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")
# What templates put between JavaScript, so that the parser does not see it: what stands for a value, and what does not.
# None goes beyond the next beginning of its own kind, or many that never end would each be read to the end of the file.
_VALUE: Final = re.compile(rb"<%[=-](?:(?!<%[=-]).)*?%>|\{\{(?:(?!\{\{).)*?\}\}", re.DOTALL)
_CONTROL: Final = re.compile(
    rb"<!\[CDATA\[|\]\]>|<%(?![=-])(?:(?!<%).)*?%>|</%\w[^<>]*>"
    rb"|\{%(?:(?!\{%).)*?%\}|\{\#(?:(?!\{\#).)*?\#\}|^[ \t]*(?:%(?!%)|\#\#)[^\n]*",
    re.DOTALL | re.MULTILINE,
)
_UNREAD: Final = re.compile(rb"\bLogger\s*\.\s*(?:log|listen|bind)\s*\(|\blog_event\s*\(")
_CALL: Final = re.compile(rb"\bLogger\s*\.\s*(?:log|listen|bind)\b|\blog_event\b")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of JavaScript.

    Args:
        code: As the parser reads it, in UTF-8.
        places: For each byte of it, and for its end, the place in the file.
        grammar: What it is written in.
    """

    code: bytes
    places: Sequence[int]
    grammar: Grammar


def find_fragments(content: bytes, path: PurePath) -> list[Fragment]:
    """The pieces of JavaScript in a file, in order. Pure.

    Args:
        content: The file in UTF-8.
        path: Its ending says what it is.
    """
    suffix = path.suffix.lower()
    if suffix in _SCRIPTS:
        return [Fragment(content, range(len(content) + 1), _SCRIPTS[suffix])]
    cdata = list(_find_cdata(content))
    found: list[Fragment] = []
    for match in _PART.finditer(content):
        kind = match.lastgroup or ""
        if kind == "attributes" or not kind:
            continue
        start, end = match.span(kind)
        is_script = kind in ("script", "escaped")
        if is_script:
            attributes = match["attributes"] if kind == "script" else match["escaped_attributes"]
            type_of = _TYPE.search(attributes)
            if type_of is not None and not _SCRIPT_TYPES.fullmatch(type_of[1]):
                continue
            language = _LANGUAGE.search(attributes)
            grammar: Grammar = "javascript" if language is None else "tsx" if language[1] == b"tsx" else "typescript"
        else:
            grammar = "javascript"
        if not _CALL.search(content, start, end):
            continue
        is_cdata = any(first < start < last for first, last in cdata) or b"<![CDATA[" in content[start:end]
        # In XML a script is text like any other; in HTML it is not, but the value of an attribute is.
        is_escaped = not is_script or kind == "escaped" or (suffix == ".xml" and not is_cdata)
        code = _mask(content[start:end], is_template=suffix != ".vue")
        places: Sequence[int] = range(start, end + 1)
        if is_escaped:
            code, places = _unescape(code, start)
        found.append(Fragment(code, places, grammar))
    return found


def _find_cdata(content: bytes) -> Iterator[tuple[int, int]]:
    """The place of each CDATA section."""
    end = 0
    while (start := content.find(b"<![CDATA[", end)) >= 0 and (close := content.find(b"]]>", start)) >= 0:
        end = close + 3
        yield start, end


def find_unread(content: bytes, path: PurePath, fragments: Sequence[Fragment]) -> Iterator[int]:
    """Places of a page where something looks like a call and is in none of the fragments, nor in a comment. Pure."""
    if path.suffix.lower() in _SCRIPTS:
        return
    spans = [(fragment.places[0], fragment.places[-1]) for fragment in fragments]
    spans += [match.span() for match in _PART.finditer(content) if match.lastgroup is None]
    for match in _UNREAD.finditer(content):
        if not any(start <= match.start() < end for start, end in spans):
            yield match.start()


def _mask(code: bytes, *, is_template: bool) -> bytes:
    """Blanks where a template has words of its own, and a name where it puts a value: as many bytes as before."""
    if not is_template:
        return code

    def as_blanks(match: re.Match[bytes]) -> bytes:
        return re.sub(rb"[^\r\n]", b" ", match[0])

    def as_name(match: re.Match[bytes]) -> bytes:
        return b"_" * len(match[0])

    code = _CONTROL.sub(as_blanks, _VALUE.sub(as_name, code))
    parts: list[bytes] = []
    at = 0
    # Mako's ${…} may hold braces and texts; outside of a template literal JavaScript has nothing like it.
    while (start := code.find(b"${", at)) >= 0:
        depth, end = 1, start + 2
        while end < len(code) and depth:
            depth += {b"{": 1, b"}": -1}.get(code[end : end + 1], 0)
            end += 1
        if depth:
            break
        parts += (code[at:start], b"_" * (end - start))
        at = end
    return b"".join([*parts, code[at:]])


def _unescape(code: bytes, start: int) -> tuple[bytes, list[int]]:
    """The code with its entities resolved, and for each byte its place in the file."""
    parts: list[bytes] = []
    places: list[int] = []
    at = 0
    for match in _ENTITY.finditer(code):
        parts.append(code[at : match.start()])
        places += range(start + at, start + match.start())
        text = html.unescape(match[0].decode()).encode("utf-8", "replace")
        parts.append(text)
        places += [start + match.start()] * len(text)
        at = match.end()
    parts.append(code[at:])
    places += range(start + at, start + len(code) + 1)
    return b"".join(parts), places
