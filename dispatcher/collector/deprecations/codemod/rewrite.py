"""Rewrite: finds the calls of Logger in one piece of JavaScript or TypeScript, and says how each becomes Tracker's.

A real parser reads the code, so that comments and strings stay, and only what is a call is taken for one. Edits are
small: names are replaced and an element is wrapped, and everything between them stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

import tree_sitter_javascript
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser

Grammar = Literal["javascript", "typescript", "tsx"]

_METHODS: Final = {b"log": b"emit", b"listen": b"on", b"bind": b""}
#: Names of the page's own object, in front of which Logger is still Logger.
_GLOBALS: Final = frozenset({b"window", b"self", b"globalThis"})
_FUNCTIONS: Final = frozenset(
    {
        *("program", "function_declaration", "function_expression", "function", "arrow_function"),
        *("method_definition", "generator_function", "generator_function_declaration"),
    }
)
# What may stand between a call and its statement without using what the call returns.
_PASSED_THROUGH: Final = frozenset(
    {"await_expression", "parenthesized_expression", "unary_expression", "sequence_expression"}
)
#: Of these, nobody looks at what a callback returns.
_HANDLER_TAKERS: Final = frozenset(
    {
        *(b"addEventListener", b"on", b"one", b"click", b"change", b"submit", b"keyup", b"keydown", b"focus", b"blur"),
        *(b"hover", b"ready", b"forEach", b"setTimeout", b"setInterval", b"requestAnimationFrame", b"done", b"always"),
    }
)
_LOGGER_MODULE: Final = re.compile(rb"""["'](?:[^"']*/)?logger(?:\.js)?["']""")
_NOTHING: Final = frozenset({b"null", b"undefined"})


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes from ``start`` to ``end`` of the code become ``text``, which is ASCII without quotes, < and &."""

    start: int
    end: int
    text: bytes


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call that stays as it is.

    Args:
        offset: Where it is in the code.
        call: What is called, such as ``Logger.log``.
        why: Why it stays, with what a person can do.
    """

    offset: int
    call: str
    why: str


@dataclass(slots=True)
class Rewritten:
    """What becomes of one piece of code.

    Args:
        edits: In the order of the code; they do not overlap.
        calls: How many calls they rewrite.
        kept: Calls that stay.
    """

    edits: list[Edit] = field(default_factory=list)
    calls: int = 0
    kept: list[KeptCall] = field(default_factory=list)


def rewrite(code: bytes, grammar: Grammar = "javascript") -> Rewritten:
    """Rewrite one piece of code. Pure. What it made, rewritten again, has no edits.

    Args:
        code: In UTF-8.
        grammar: What it is written in.
    """
    root = _parser(grammar).parse(code).root_node
    before = _count_errors(root)
    result = Rewritten()
    own_names = list(_own_names(root))
    for node, call in _find_uses(root):
        why, edits = _judge(node, call, own_names)
        if why:
            result.kept.append(KeptCall(node.start_byte, call, why))
        else:
            result.edits += edits
            result.calls += 1
    result.edits.sort(key=lambda edit: (edit.start, edit.end))
    if result.edits and _count_errors(_parser(grammar).parse(apply(code, result.edits)).root_node) > before:
        kept = [KeptCall(edit.start, "Logger", "it could not be read any more after a change") for edit in result.edits]
        return Rewritten(kept=[*result.kept, *kept[:1]])
    result.kept.sort(key=lambda one: one.offset)
    return result


def apply(code: bytes, edits: list[Edit]) -> bytes:
    """The code with the edits made. Pure."""
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts += (code[at : edit.start], edit.text)
        at = edit.end
    return b"".join([*parts, code[at:]])


@cache
def _parser(grammar: Grammar) -> Parser:
    languages = {
        "javascript": tree_sitter_javascript.language,
        "typescript": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }
    return Parser(Language(languages[grammar]()))


def _walk(root: Node) -> Iterator[Node]:
    """All nodes, in the order of the code; not by recursion, since code may nest deep."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(node.children)


def _count_errors(root: Node) -> int:
    return sum(node.is_error or node.is_missing for node in _walk(root)) if root.has_error else 0


def _text(node: Node | None) -> bytes:
    return (node.text or b"") if node is not None else b""


def _find_uses(root: Node) -> Iterator[tuple[Node, str]]:
    """Each use of Logger's functions: the node that names the function, and its plain name."""
    for node in _walk(root):
        if node.type == "member_expression":
            holder, name = node.child_by_field_name("object"), _text(node.child_by_field_name("property"))
            if name == b"log_event" and _text(holder) in _GLOBALS:
                yield node, "log_event"
            elif name in _METHODS and holder is not None and _logger_of(holder) is not None:
                yield node, f"Logger.{name.decode()}"
        elif node.type == "subscript_expression":
            holder, index = node.child_by_field_name("object"), _text(node.child_by_field_name("index"))
            if holder is not None and _logger_of(holder) is not None and index.strip(b"\"'`") in _METHODS:
                yield node, "Logger[…]"
        elif node.type == "identifier" and node.text == b"log_event" and not _is_binding(node):
            yield node, "log_event"


def _logger_of(node: Node) -> Node | None:
    """The name ``Logger`` in ``Logger`` and in ``window.Logger``; None in any other expression."""
    if node.type == "identifier":
        return node if node.text == b"Logger" else None
    if node.type == "member_expression" and _text(node.child_by_field_name("object")) in _GLOBALS:
        name = node.child_by_field_name("property")
        return name if _text(name) == b"Logger" else None
    return None


def _is_binding(node: Node) -> bool:
    """Whether an identifier is where a name is given, and not where it is used."""
    parent = node.parent
    if parent is None:
        return False
    if parent.type in ("variable_declarator", "function_declaration", "class_declaration", "function_expression"):
        return bool(parent.child_by_field_name("name") == node)
    if parent.type in ("assignment_expression", "assignment_pattern"):
        return bool(parent.child_by_field_name("left") == node)
    if parent.type == "arrow_function":
        return bool(parent.child_by_field_name("parameter") == node)
    return parent.type in (
        *("formal_parameters", "required_parameter", "optional_parameter", "import_clause", "import_specifier"),
        *("namespace_import", "catch_clause", "array_pattern", "rest_pattern", "pair_pattern"),
    )


def _own_names(root: Node) -> Iterator[tuple[Node, Node]]:
    """Where the code itself gives something the name Logger or log_event: the scope in which it holds, and the name.

    Not where it is edX's own module: ``define(["logger"], function(Logger) {…})``, ``import Logger from "logger"``.
    """
    for node in _walk(root):
        if node.text not in (b"Logger", b"log_event") or not (
            node.type == "shorthand_property_identifier_pattern" or (node.type == "identifier" and _is_binding(node))
        ):
            continue
        scope: Node | None = node.parent
        while scope is not None and scope.type not in (*_FUNCTIONS, "import_statement"):
            scope = scope.parent
        if scope is None:
            continue
        if scope.type == "import_statement":
            if _LOGGER_MODULE.fullmatch(_text(scope.child_by_field_name("source"))):
                continue
            scope = root
        elif node.parent is not None and node.parent.type in ("function_declaration", "variable_declarator"):
            # A function's name holds outside of it.
            scope = scope.parent or scope if node.parent == scope else scope
        if scope.type != "program" and _is_module_parameter(node, scope):
            continue
        yield scope, node


def _is_module_parameter(name: Node, function: Node) -> bool:
    """Whether RequireJS hands edX's module ``logger`` to the function under this name."""
    arguments, parameters = function.parent, function.child_by_field_name("parameters")
    if arguments is None or arguments.type != "arguments" or parameters is None or arguments.parent is None:
        return False
    if _text(arguments.parent.child_by_field_name("function")) not in (b"define", b"require", b"requirejs"):
        return False
    modules = [
        one for argument in arguments.named_children if argument.type == "array" for one in argument.named_children
    ]
    names = parameters.named_children
    place = next((number for number, one in enumerate(names) if one.start_byte == name.start_byte), len(modules))
    return place < len(modules) and _LOGGER_MODULE.fullmatch(_text(modules[place])) is not None


def _judge(node: Node, call: str, own_names: list[tuple[Node, Node]]) -> tuple[str, list[Edit]]:
    """Why a use stays as it is, or, where that is empty, the edits that rewrite it."""
    parent = node.parent
    if _is_in_error(node):
        return "the code around it cannot be read", []
    if parent is None or parent.type != "call_expression" or parent.child_by_field_name("function") != node:
        return "it is not called here, but handed on: call Tracker.emit or Tracker.on in its place", []
    list_of = parent.child_by_field_name("arguments")
    if list_of is None or list_of.type != "arguments":
        return "it is called with a template", []
    given = [child for child in list_of.named_children if child.type not in ("comment", "html_comment")]
    why = _why_unsure(node, parent, call, given, own_names) or _why_used(parent, _name_of(call))
    if why:
        return why, []
    if call == "Logger.listen":
        return "", _name_edits(node, b"on")
    edits = _name_edits(node, b"emit")
    if len(given) >= 3:
        data, element, last = given[1], given[2], given[-1]
        has_comments = any(child.type == "comment" and child.start_byte > data.end_byte for child in list_of.children)
        if _text(element) in _NOTHING and not has_comments:
            edits.append(Edit(data.end_byte, last.end_byte, b""))
        else:
            edits.append(Edit(element.start_byte, element.start_byte, b"{element: "))
            # What would be too many is ignored, and a comment stays.
            edits.append(Edit(element.end_byte, element.end_byte if has_comments else last.end_byte, b"}"))
    return "", edits


def _name_of(call: str) -> bytes:
    return b"log_event" if call == "log_event" else b"Logger"


def _why_unsure(node: Node, parent: Node, call: str, given: list[Node], own_names: list[tuple[Node, Node]]) -> str:
    """Why a call cannot be taken for one of edX's Logger, or has something that Tracker has not; empty where neither.

    Args:
        node: What is called.
        parent: The call.
        call: Its plain name.
        given: Its arguments, without comments.
        own_names: From ``_own_names``.
    """
    name = _name_of(call)
    own = [
        own.start_point[0] + 1
        for scope, own in own_names
        if own.text == name and scope.start_byte <= node.start_byte < scope.end_byte
    ]
    fourth = _text(given[3]) if len(given) == 4 else b"null"
    reasons = (
        (bool(own), f"{name.decode()} is this script's own name there, from line {min(own, default=0)} on"),
        (node.type == "subscript_expression", "the function is looked up by a text"),
        (
            any(child.type == "optional_chain" for child in [*node.children, *parent.children]),
            "it is called only if Logger is there: test for Tracker instead",
        ),
        (parent.has_error, "the code around it cannot be read"),
        (call == "Logger.bind", "it has no successor: delete it, unless page_close is needed"),
        (any(child.type == "spread_element" for child in given), "its arguments are spread"),
        (
            call == "Logger.listen" and (len(given) != 3 or _text(given[1]) == b"undefined"),
            "it needs a name, an element (or null) and a callback",
        ),
        (not given, "it has no name of an event"),
        (
            len(given) > 4 or fourth not in _NOTHING,
            "it has options of the request: what its callbacks do goes behind Tracker.emit",
        ),
    )
    return next((why for is_so, why in reasons if is_so), "")


def _name_edits(node: Node, name: bytes) -> list[Edit]:
    """``Logger.log`` becomes ``Tracker.emit``, and ``log_event`` does; with ``window.`` in front where that is."""
    if node.type == "identifier":
        return [Edit(node.start_byte, node.end_byte, b"Tracker." + name)]
    method = node.child_by_field_name("property")
    holder = node.child_by_field_name("object")
    assert method is not None
    assert holder is not None
    logger = _logger_of(holder)
    if logger is None:
        return [Edit(method.start_byte, method.end_byte, b"Tracker." + name)]
    return [Edit(logger.start_byte, logger.end_byte, b"Tracker"), Edit(method.start_byte, method.end_byte, name)]


def _is_in_error(node: Node) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.is_error:
            return True
        parent = parent.parent
    return False


def _why_used(call: Node, name: bytes) -> str:
    """Why a call cannot be replaced where it stands: what it returns is used, or a test for Logger is around it."""
    node, parent = call, call.parent
    while parent is not None and (
        parent.type in _PASSED_THROUGH
        or (parent.type == "binary_expression" and parent.child_by_field_name("right") == node)
        or (parent.type == "ternary_expression" and parent.child_by_field_name("condition") != node)
    ):
        node, parent = parent, parent.parent
    is_free = parent is None or parent.type in ("expression_statement", "program")
    if parent is not None and parent.type == "arrow_function" and parent.child_by_field_name("body") == node:
        taker = parent.parent.parent if parent.parent is not None and parent.parent.type == "arguments" else None
        function = taker.child_by_field_name("function") if taker is not None else None
        method = function.child_by_field_name("property") if function is not None else None
        is_free = _text(method if method is not None else function) in _HANDLER_TAKERS
    # A test that would be false once Logger is gone.
    above: Node | None = call.parent
    below = call
    while above is not None:
        test = above.child_by_field_name("condition") or above.child_by_field_name("left")
        is_test = above.type in ("if_statement", "ternary_expression", "binary_expression", "while_statement")
        if is_test and test is not None and test != below and re.search(rb"\b%b\b" % name, _text(test)):
            return f"it stands behind a test for {name.decode()}: test for Tracker instead"
        below, above = above, above.parent
    if not is_free:
        if parent is not None and parent.type == "member_expression":
            return "it waits for the answer of a request: do at once what its callback does"
        return "what it returns is used: Tracker.emit returns the id of the event"
    return ""
