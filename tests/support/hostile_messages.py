"""Messages that an attacker or an old version may put into our Celery queues, none of which is a doorbell."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import pickle
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.store.doorbell import Ring, commands

# More levels than any recursion allows.
DEEP = 100_000
# Digits that Python refuses to read as a number.
LONG_NUMBER = 5_000
# The uncompressed size of a message of some kilobytes.
BOMB = 1 << 28


def doorbell(queue: str, batch_id: str = "7-a-0") -> dict[str, Any]:
    """A valid doorbell, decoded."""
    [(_, _, text)] = commands([Ring(destination=queue, batch_id=batch_id, count=1)])
    assert isinstance(text, bytes)
    message: dict[str, Any] = json.loads(text)
    return message


def hostile_messages(queue: str) -> dict[str, bytes]:
    """Messages in Redis, by what is wrong with them. A worker must drop each of them."""
    texts = _malformed_texts() | {f"JSON: {name}": text.encode() for name, text in _other_json().items()}
    for name, change in _changes(queue).items():
        message = copy.deepcopy(doorbell(queue))
        change(message)
        texts[name] = json.dumps(message).encode()
    texts["body: invalid UTF-8"] = json.dumps(doorbell(queue)).encode().replace(b"7-a-0", b"7-\xff-0")
    texts["headers: retries of many digits"] = (
        json.dumps(doorbell(queue)).encode().replace(b'"retries": 0', b'"retries": ' + b"9" * LONG_NUMBER)
    )
    texts["headers: retries is NaN"] = json.dumps(doorbell(queue)).encode().replace(b'"retries": 0', b'"retries": NaN')
    return texts


def hostile_bodies(queue: str) -> dict[str, tuple[bytes, dict[str, Any], dict[str, Any]]]:
    """Bodies, headers and properties of AMQP messages, by what is wrong with them."""
    good = doorbell(queue)
    properties: dict[str, Any] = {"content_type": "application/json", "content_encoding": "utf-8"}
    body, headers = good["body"].encode(), good["headers"]
    found: dict[str, tuple[bytes, dict[str, Any], dict[str, Any]]] = {
        f"body: {name}": (text, headers, properties) for name, text in _malformed_texts().items()
    }
    found |= {f"body JSON: {name}": (text.encode(), headers, properties) for name, text in _other_json().items()}
    for name, change in _changes(queue).items():
        message = copy.deepcopy(good)
        change(message)
        if not (name.startswith("headers") and isinstance(message.get("headers"), dict)):
            continue
        # Only values that AMQP can express.
        if "compression" not in message["headers"] and not any(word in name for word in ("huge", "null", str(10**30))):
            found[name] = (body, message["headers"], properties)
    found["no headers"] = (body, {}, properties)
    found["old protocol"] = (json.dumps(_protocol_1(queue)).encode(), {}, properties)
    found["gzip bomb"] = (zlib.compress(b" " * BOMB), headers | {"compression": "application/x-gzip"}, properties)
    found["gzip of a doorbell"] = (zlib.compress(body), headers | {"compression": "gzip"}, properties)
    found["invalid zlib"] = (b"none", headers | {"compression": "zlib"}, properties)
    found["an unknown compression"] = (body, headers | {"compression": "zip"}, properties)
    for kind in ("application/x-python-serialize", "application/x-yaml", "text/plain", "x/y", ""):
        found[f"content type {kind}"] = (pickle.dumps(["7-a-0"]), headers, properties | {"content_type": kind})
    for kind in ("binary", "no-such-encoding", "utf-16"):
        found[f"content encoding {kind}"] = (body, headers, properties | {"content_encoding": kind})
    return found


def hostile_control() -> dict[str, bytes]:
    """Texts for the remote control channel, none of which is a valid command."""

    def command(body: Any, /, **changes: Any) -> bytes:
        properties = {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "a-tag",
        }
        message = {
            "body": base64.b64encode(body if isinstance(body, bytes) else json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"clock": 1, "expires": None},
            "properties": properties,
        }
        return json.dumps(message | changes).encode()

    ping: dict[str, Any] = {"method": "ping", "arguments": {}, "destination": None, "pattern": None, "matcher": None}
    return {
        **{name: text for name, text in _malformed_texts().items() if text},
        **{f"JSON: {name}": text.encode() for name, text in _other_json().items()},
        **{f"body: {name}": command(text) for name, text in _malformed_texts().items()},
        **{f"body JSON: {name}": command(text.encode()) for name, text in _other_json().items()},
        **{f"method {value!r}": command(ping | {"method": value}) for value in (None, 1, [], {}, ["ping"])},
        **{f"arguments {value!r}": command(ping | {"arguments": value}) for value in ("x", 1, ["x"])},
        **{f"destination {value!r}": command(ping | {"destination": value}) for value in (1, True, [1], [["x"]])},
        "an invalid pattern": command(ping | {"pattern": "(", "matcher": "pcre"}),
        "an unknown matcher": command(ping | {"pattern": "x", "matcher": "none"}),
        **{f"reply to {value!r}": command(ping | {"reply_to": value}) for value in ("x", ["x"], {"x": "y"}, 1)},
        "pickle": command(pickle.dumps(ping), **{"content-type": "application/x-python-serialize"}),
        "an unknown type": command(ping, **{"content-type": "x/y"}),
        "an unknown encoding": command(ping, **{"content-encoding": "x"}),
        "no base64": command(ping, body="%"),
        "no headers": command(ping, headers=None),
        "headers that are a list": command(ping, headers=["clock"]),
        "a clock that is text": command(ping, headers={"clock": "x"}),
        "a clock that is huge": command(ping, headers={"clock": 10**30}),
        "compressed": command(zlib.compress(b"x"), headers={"compression": "gzip"}),
        "no properties": command(ping, properties=None),
    }


def _malformed_texts() -> dict[str, bytes]:
    return {
        "empty": b"",
        "no JSON": b"no JSON",
        "half of an object": b'{"body": "',
        "a zero byte": b"\0",
        "invalid UTF-8": b'"\xff\xfe"',
        "a byte order mark": b"\xef\xbb\xbf{}",
        "deep lists": b"[" * DEEP,
        "deep lists that end": b"[" * DEEP + b"]" * DEEP,
        "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "a number of many digits": b"9" * LONG_NUMBER,
        "a number that is infinite": b"1e400",
        "NaN": b"NaN",
        "a lone surrogate": b'"\\ud800"',
        "pickle": pickle.dumps({"task": "x"}),
        "gzip": gzip.compress(b"{}"),
        "a megabyte of nothing": b" " * (1 << 20),
        "a megabyte of text": b'"' + b"a" * (1 << 20) + b'"',
        "kombu's own types": b'{"__type__": "datetime", "__value__": "no time"}',
    }


def _other_json() -> dict[str, str]:
    return {
        text: text
        for text in ("null", "true", "0", "1.5", '"text"', "[]", '["a"]', "{}", '{"properties": {}}', '{"body": null}')
    }


def _protocol_1(queue: str) -> dict[str, Any]:
    return {"task": f"tasks.{queue}.deliver", "id": "an-id", "args": ["7-a-0"], "kwargs": {}, "retries": 0}


def _changes(queue: str) -> Mapping[str, Callable[[dict[str, Any]], object]]:  # noqa: PLR0912, PLR0915 - a long list
    changes: dict[str, Callable[[dict[str, Any]], object]] = {}
    other = "segment" if queue != "segment" else "tracking_log"

    def put(name: str, *path: str, value: Any) -> None:
        def change(message: dict[str, Any]) -> None:
            inner = message
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value

        changes[name] = change

    def take(*path: str) -> None:
        def change(message: dict[str, Any]) -> None:
            inner = message
            for key in path[:-1]:
                inner = inner[key]
            del inner[path[-1]]

        changes[f"{' '.join(path)} is missing"] = change

    def body(name: str, value: Any) -> None:
        put(f"body: {name}", "body", value=value if isinstance(value, str) else json.dumps(value))

    for key in ("body", "headers", "properties", "content-type", "content-encoding"):
        take(key)
        put(f"{key} is null", key, value=None)
        put(f"{key} is a number", key, value=1)
        put(f"{key} is a list", key, value=["a"])
    take("properties", "delivery_tag")
    take("properties", "delivery_info")
    take("headers", "task")
    take("headers", "id")
    for value in (None, 1, ["a"], {"a": 1}, "x" * 100_000):
        shown = repr(value)[:10]
        put(f"properties: delivery_tag {shown}", "properties", "delivery_tag", value=value)
        put(f"properties: delivery_info {shown}", "properties", "delivery_info", value=value)
        put(f"headers: id {shown}", "headers", "id", value=value)
        put(f"headers: task {shown}", "headers", "task", value=value)
    for value in ("no.such.task", "celery.chord_unlock", "celery.backend_cleanup", f"tasks.{other}.deliver"):
        put(f"headers: task {value}", "headers", "task", value=value)
    for value in ("x", -1, 1.5, [], 10**30):
        put(f"headers: retries {value!r}", "headers", "retries", value=value)
    for value in ("x", 1, [1], ["a", "b"], [-1, -1], {"a": 1}):
        put(f"headers: timelimit {value!r}", "headers", "timelimit", value=value)
    for value in ("no time", "2001-01-01T00:00:00", "9999-12-31T23:59:59", 1, [1], {"a": 1}, 10**30):
        put(f"headers: eta {value!r}", "headers", "eta", value=value)
        put(f"headers: expires {value!r}", "headers", "expires", value=value)
    put("headers: argsrepr is huge", "headers", "argsrepr", value="x" * (1 << 20))
    put("headers: argsrepr is a list", "headers", "argsrepr", value=[1])
    put("headers: a group", "headers", "group", value="a-group")
    for value in ("gzip", "application/x-bz2", "none", 1):
        put(f"headers: compression {value!r}", "headers", "compression", value=value)
    for value in ("text", 1, None, [1], {"exchange": 1, "routing_key": 2}):
        put(f"properties: delivery_info {value!r}", "properties", "delivery_info", value=value)
    put("properties: an encoding of the body", "properties", "body_encoding", value="none")
    put("properties: invalid base64", "properties", "body_encoding", value="base64")
    put("properties: priority is text", "properties", "priority", value="x")
    put("properties: priority is a list", "properties", "priority", value=[1])
    put("properties: an answer is requested", "properties", "reply_to", value={"a": 1})
    for value in ("application/x-python-serialize", "application/x-yaml", "application/data", "none"):
        put(f"content-type {value}", "content-type", value=value)
    for value in ("binary", "none", "utf-16"):
        put(f"content-encoding {value}", "content-encoding", value=value)
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    for name, text in _malformed_texts().items():
        if len(text) < 500_000 and name not in ("invalid UTF-8", "pickle", "gzip", "a byte order mark"):
            body(name, text.decode())
    for name, text in _other_json().items():
        body(f"JSON {name}", text)
    for name, arguments in {
        "no argument": [],
        "two arguments": ["7-a-0", "7-a-1"],
        "arguments that are text": "7-a-0",
        "arguments that are an object": {"batch_id": "7-a-0"},
        "a batch id that is a number": [7],
        "a batch id that is null": [None],
        "a batch id that is a list": [["7-a-0"]],
        "an empty batch id": [""],
        "a long batch id": ["a" * 10_000],
        "a batch id with a star": ["*"],
        "a batch id with braces": ["{tracking_log}:batches"],
        "a batch id with a line break": ["7-a\n0"],
        "a batch id with Lua": ["'..redis.call('FLUSHALL')..'"],
        "a batch id with a zero byte": ["7\0a"],
        "a batch id with a lone surrogate": ["7-\ud800"],
    }.items():
        body(name, [arguments, {}, embed])
    body("unknown keywords", [["7-a-0"], {"batch_id": "7-a-0", "x": 1}, embed])
    body("keywords that are a list", [["7-a-0"], [], embed])
    body("nothing embedded", [["7-a-0"], {}])
    body("four parts", [["7-a-0"], {}, embed, {}])
    signature = {"task": "celery.ping", "args": [], "kwargs": {}, "options": {}, "subtask_type": None}
    for key in embed:
        body(f"{key} that name a task", [["7-a-0"], {}, embed | {key: [signature]}])
        body(f"{key} that are text", [["7-a-0"], {}, embed | {key: "x"}])
    changes["old protocol"] = lambda message: message.update(headers={}, body=json.dumps(_protocol_1(queue)))
    return changes
