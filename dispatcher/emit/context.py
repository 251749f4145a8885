"""The bound context: who, where and in which course, for the current request or task.

It lives in a contextvar, so threads, asyncio tasks and greenlets each have their own. What is bound is a snapshot:
a dict that is changed after it was entered changes no event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from dispatcher import wire
from dispatcher.emit.diagnosis import ENCODING_ERRORS, holds_non_finite


class BoundContext:
    """The contexts entered so far, merged in the order entered, and their JSON. Never changed once made."""

    __slots__ = ("data_end", "json", "layers", "merged", "size")

    def __init__(self, layers: tuple[tuple[str, dict[str, Any]], ...]) -> None:
        self.layers: Final = layers
        # The one layer that most requests have needs no copy: it is a snapshot already.
        merged = layers[0][1] if layers else {}
        for _, layer in layers[1:]:
            merged = merged | layer
        self.merged: Final = merged
        encoded = _encode(merged)
        #: Encoded here, once a request, so that emit only has to splice it in; None where it cannot be encoded.
        self.json: Final = None if encoded is None else msgspec.Raw(encoded)
        #: The length of that JSON in bytes.
        self.size: Final = 0 if encoded is None else len(encoded)
        #: Where the data ends in a payload with this context, counted from the payload's end.
        self.data_end: Final = wire.data_end(self.size)

    def with_layer(self, name: str, ctx: dict[str, Any]) -> BoundContext:
        """A layer of the same name is replaced where it stands, as event-tracking does."""
        layers = self.layers
        # Most requests have one layer, bound anew for each of them.
        if not layers or (len(layers) == 1 and layers[0][0] == name):
            return BoundContext(((name, ctx),))
        if self.layer(name) is None:
            return BoundContext((*self.layers, (name, ctx)))
        return BoundContext(tuple((layer, ctx if layer == name else old) for layer, old in self.layers))

    def without_layer(self, name: str) -> BoundContext:
        layers = tuple(entry for entry in self.layers if entry[0] != name)
        if len(layers) == len(self.layers):
            raise KeyError(name)
        return BoundContext(layers) if layers else EMPTY

    def layer(self, name: str) -> dict[str, Any] | None:
        for layer, ctx in self.layers:
            if layer == name:
                return ctx
        return None


def _encode(merged: dict[str, Any]) -> bytes | None:
    try:
        encoded = wire.encode_json(merged)
    except ENCODING_ERRORS:
        return None
    if wire.NULL in encoded and holds_non_finite(merged):
        return None
    return encoded


EMPTY: Final = BoundContext(())

_bound: ContextVar[BoundContext] = ContextVar("dispatcher_context", default=EMPTY)

#: The bound context of whoever calls. Neither blocks nor raises.
current = _bound.get


def enter_context(name: str, ctx: Mapping[str, Any]) -> None:
    """Bind ``ctx`` under ``name`` until ``exit_context(name)``. Later contexts win over earlier ones, key by key.

    Raises:
        TypeError: ``ctx`` is not a mapping.
    """
    _bound.set(_bound.get().with_layer(name, _snapshot(name, ctx)))


def exit_context(name: str) -> None:
    """Unbind what was entered under ``name``. Raises KeyError when nothing was."""
    _bound.set(_bound.get().without_layer(name))


@contextmanager
def context(name: str, ctx: Mapping[str, Any]) -> Iterator[None]:
    """Bind ``ctx`` for the length of a with block; what ``name`` stood for before is bound again after it."""
    outside = _bound.get()
    inside = outside.with_layer(name, _snapshot(name, ctx))
    _bound.set(inside)
    try:
        yield
    finally:
        bound, before = _bound.get(), outside.layer(name)
        if bound is inside:
            _bound.set(outside)
        # Others were entered or left in between, and stay so.
        elif before is not None:
            _bound.set(bound.with_layer(name, before))
        elif bound.layer(name) is not None:
            _bound.set(bound.without_layer(name))


def _snapshot(name: str, ctx: Mapping[str, Any]) -> dict[str, Any]:
    if type(ctx) is not dict and not isinstance(ctx, Mapping):
        raise TypeError(
            f"the context {name!r} must be a dict, not {type(ctx).__name__}: "
            "call tracker.context('request', {'user_id': 7}) or the like"
        )
    return dict(ctx)
