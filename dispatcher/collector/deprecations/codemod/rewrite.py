"""Rewrite: finds the calls of Logger in one piece of JavaScript or TypeScript, and says how each becomes Tracker's.

A real parser reads the code, so that comments and strings stay, and only what is a call is taken for one. Edits are
small: names are replaced and an element is wrapped, and everything between them stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
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
    for node, above, call in _find_uses(root):
        why, edits = _judge(node, above, call, own_names)
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


def _walk(root: Node) -> Iterator[tuple[Node, list[Node]]]:
    """All nodes in the order of the code, each with the nodes around it, the innermost last.

    The list is the same one all the time. Not by recursion, since code may nest deep; and not by ``Node.parent``, which
    looks for the node from the root on.
    """
    path: list[Node] = []
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        del path[depth:]
        yield node, path
        path.append(node)
        stack += [(child, depth + 1) for child in reversed(node.children)]


def _count_errors(root: Node) -> int:
    return sum(node.is_error or node.is_missing for node, _ in _walk(root)) if root.has_error else 0


def _text(node: Node | None) -> bytes:
    return (node.text or b"") if node is not None else b""


def _find_uses(root: Node) -> Iterator[tuple[Node, list[Node], str]]:
    """Each use of Logger's functions: the node that names the function, those around it, and its plain name."""
    for node, above in _walk(root):
        call = ""
        if node.type == "member_expression":
            holder, name = node.child_by_field_name("object"), _text(node.child_by_field_name("property"))
            if name == b"log_event" and holder is not None and _text(holder) in _GLOBALS:
                call = "log_event"
            elif name in _METHODS and holder is not None and _logger_of(holder) is not None:
                call = f"Logger.{name.decode()}"
        elif node.type == "subscript_expression":
            holder, index = node.child_by_field_name("object"), node.child_by_field_name("index")
            if holder is not None and _logger_of(holder) is not None and _text(index).strip(b"\"'`") in _METHODS:
                call = "Logger[…]"
        elif node.type == "identifier" and node.text == b"log_event" and not _is_binding(node, above):
            call = "log_event"
        if call:
            yield node, above.copy(), call


def _logger_of(node: Node) -> Node | None:
    """The name ``Logger`` in ``Logger`` and in ``window.Logger``; None in any other expression."""
    if node.type == "identifier":
        return node if node.text == b"Logger" else None
    if node.type == "member_expression" and _text(node.child_by_field_name("object")) in _GLOBALS:
        name = node.child_by_field_name("property")
        return name if _text(name) == b"Logger" else None
    return None


def _is_binding(node: Node, above: list[Node]) -> bool:
    """Whether an identifier is where a name is given, and not where it is used."""
    if not above:
        return False
    parent = above[-1]
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
    for node, above in _walk(root):
        is_short = node.type == "shorthand_property_identifier_pattern"
        # The type first: the text of a node is a copy, and some nodes are the whole file.
        if not (is_short or node.type == "identifier") or node.text not in (b"Logger", b"log_event"):
            continue
        if not is_short and not _is_binding(node, above):
            continue
        place = next(
            (n for n in range(len(above) - 1, -1, -1) if above[n].type in (*_FUNCTIONS, "import_statement")), None
        )
        if place is None:
            continue
        scope = above[place]
        if scope.type == "import_statement":
            if _LOGGER_MODULE.fullmatch(_text(scope.child_by_field_name("source"))):
                continue
            scope = root
        elif scope.type == "function_declaration" and place == len(above) - 1:
            # A function's name holds outside of it.
            scope = above[place - 1]
        elif _is_module_parameter(node, above[: place + 1]):
            continue
        yield scope, node


def _is_module_parameter(name: Node, above: list[Node]) -> bool:
    """Whether RequireJS hands edX's module ``logger`` to the last function of ``above`` under this name."""
    if len(above) < 3 or above[-2].type != "arguments":
        return False
    call, arguments, function = above[-3:]
    parameters = function.child_by_field_name("parameters")
    if parameters is None or _text(call.child_by_field_name("function")) not in (b"define", b"require", b"requirejs"):
        return False
    modules = [
        one for argument in arguments.named_children if argument.type == "array" for one in argument.named_children
    ]
    names = parameters.named_children
    place = next((number for number, one in enumerate(names) if one.start_byte == name.start_byte), len(modules))
    return place < len(modules) and _LOGGER_MODULE.fullmatch(_text(modules[place])) is not None


def _judge(node: Node, above: list[Node], call: str, own_names: list[tuple[Node, Node]]) -> tuple[str, list[Edit]]:
    """Why a use stays as it is, or, where that is empty, the edits that rewrite it."""
    parent = above[-1]
    if any(one.is_error for one in above):
        return "the code around it cannot be read", []
    if parent.type != "call_expression" or parent.child_by_field_name("function") != node:
        return "it is not called here, but handed on: call Tracker.emit or Tracker.on in its place", []
    list_of = parent.child_by_field_name("arguments")
    if list_of is None or list_of.type != "arguments":
        return "it is called with a template", []
    given = [child for child in list_of.named_children if child.type not in ("comment", "html_comment")]
    why = _why_unsure(node, parent, call, given, own_names) or _why_used(above, _name_of(call))
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
        (
            bool(own),
            f"{name.decode()} is this script's own name there, or has a stand-in, from line {min(own, default=0)} on",
        ),
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


def _why_used(above: list[Node], name: bytes) -> str:
    """Why a call cannot be replaced where it stands: what it returns is used, or a test for Logger is around it.

    Args:
        above: The nodes around what is called; the last one is the call.
        name: ``Logger`` or ``log_event``.
    """
    # A test that would be false once Logger is gone.
    for outer, inner in pairwise(above):
        if outer.type in ("if_statement", "ternary_expression", "binary_expression", "while_statement"):
            test = outer.child_by_field_name("condition") or outer.child_by_field_name("left")
            if test is not None and test != inner and re.search(rb"\b%b\b" % name, _text(test)):
                return f"it stands behind a test for {name.decode()}: test for Tracker instead"
    place = len(above) - 1
    while place and (
        above[place - 1].type in _PASSED_THROUGH
        or (
            above[place - 1].type == "binary_expression"
            and above[place - 1].child_by_field_name("right") == above[place]
        )
        or (
            above[place - 1].type == "ternary_expression"
            and above[place - 1].child_by_field_name("condition") != above[place]
        )
    ):
        place -= 1
    user = above[place - 1] if place else None
    is_free = user is None or user.type in ("expression_statement", "program")
    if user is not None and user.type == "arrow_function" and user.child_by_field_name("body") == above[place]:
        # above[place - 1] is the arrow function, before it come the arguments, and the call that takes it.
        taker = above[place - 3] if place >= 3 and above[place - 2].type == "arguments" else None
        function = taker.child_by_field_name("function") if taker is not None else None
        method = function.child_by_field_name("property") if function is not None else None
        is_free = _text(method if method is not None else function) in _HANDLER_TAKERS
    if is_free:
        return ""
    if user is not None and user.type == "member_expression":
        return "it waits for the answer of a request: do at once what its callback does"
    return "what it returns is used: Tracker.emit returns the id of the event"
