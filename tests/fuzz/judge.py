"""Judge: what is wrong with the result of an attack. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema

from tests.fuzz.answers import Answer
from tests.fuzz.attack import Attack
from tests.fuzz.sender import Result

#: Texts that stand in an answer only where something broke.
_INSIDES: Final = (b"Traceback", b"Error(", b'File "', b"site-packages")


def judge(attack: Attack, result: Result, description: Mapping[str, Any]) -> Iterator[str]:
    """Each thing that is wrong, in words.

    Args:
        attack: What was sent.
        result: What came.
        description: The server's OpenAPI.
    """
    if result.error:
        yield result.error
        return
    for answer in result.answers:
        yield from _wrong_in_any(answer)
        if attack.statuses and answer.status not in attack.statuses and answer.status not in (429, 503):
            yield f"answered {answer.status}, not {sorted(attack.statuses)}: {answer.body[:200]!r}"
    if attack.answers and not result.is_reset and len(result.answers) != attack.answers:
        found = f"{len(result.answers)} answers after {result.seconds:.1f} s, not {attack.answers}"
        yield f"{found}; {result.rest[:80]!r} is left"
    if attack.unharmed and [answer.status for answer in result.answers] == [200]:
        # The bad one stands between two good ones.
        harmed = [item for item in json.loads(result.answers[0].body)["rejected"] if item["index"] != 1]
        yield from (f"a good event beside a bad one was rejected: {item}" for item in harmed)
    if attack.call is not None and len(result.answers) == 1:
        yield from _not_described(attack.call, result.answers[0], description)


def _wrong_in_any(answer: Answer) -> Iterator[str]:
    passes = answer.status in (429, 503)
    if answer.status >= 500 and not passes:
        yield f"answered {answer.status}: {answer.body[:200]!r}"
    if passes and not answer.headers.get("retry-after", "").isdecimal():
        yield f"answered {answer.status} without whole seconds in Retry-After"
    if "x-injected" in answer.headers:
        yield "a header of the answer was written by the client"
    yield from (f"{inside!r} stands in an answer of {answer.status}" for inside in _INSIDES if inside in answer.body)


def _not_described(call: tuple[str, str], answer: Answer, description: Mapping[str, Any]) -> Iterator[str]:
    method, path = call
    operation = description.get("paths", {}).get(path, {}).get(method.lower())
    if operation is None:
        return
    response = operation["responses"].get(str(answer.status))
    if response is None:
        yield f"{method} {path} answered {answer.status}, which its description does not have: {answer.body[:200]!r}"
        return
    kind = answer.headers.get("content-type", "").partition(";")[0]
    content = response.get("content")
    if content is None or method == "HEAD":
        return
    if kind not in content:
        yield f"{method} {path} answered {answer.status} as {kind or 'nothing'}, and its description has {[*content]}"
    elif kind == "application/json":
        schema = {"components": description.get("components", {}), **content[kind]["schema"]}
        try:
            jsonschema.validate(json.loads(answer.body), schema)
        except (ValueError, jsonschema.ValidationError) as error:
            words = str(error).partition("\n")[0]
            yield f"{method} {path} answered {answer.status} with a body unlike its description: {words[:200]}"
