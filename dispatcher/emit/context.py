"""Context: what is bound for the current request or task and goes into each of its events, such as the user and course.

It lives in a contextvar, so threads, asyncio tasks and greenlets each have their own. A bound dict is copied: to change
it after it was entered changes no event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from dispatcher import wire
from dispatcher.emit.diagnosis import ENCODING_ERRORS, describe, holds_non_finite, kind_of
from dispatcher.emit.expansion import encode_bounded, may_expand

#: Bytes beyond which a context is not even encoded: the most that outbox.max_event_bytes can be set to.
MAX_CONTEXT_BYTES: Final = 1 << 25


class BoundContext:
    """The contexts entered so far, merged in the order entered, and their JSON. Immutable.

    Args:
        layers: The name and the dict of each context, in the order entered. A dict must not change any more.
    """

    __slots__ = ("data_end", "json", "layers", "merged", "size")

    def __init__(self, layers: tuple[tuple[str, dict[str, Any]], ...]) -> None:
        self.layers: Final = layers
        # Most requests have one layer, which is not copied again.
        merged = layers[0][1] if layers else {}
        for _, layer in layers[1:]:
            merged = merged | layer
        self.merged: Final = merged
        encoded = encode_bindable(merged)
        #: Encoded here, once a request, so that emit only copies it into each event; None where it cannot be encoded.
        self.json: Final = None if encoded is None else msgspec.Raw(encoded)
        #: The length of that JSON in bytes.
        self.size: Final = 0 if encoded is None else len(encoded)
        #: Where the data ends in a payload with this context, counted from the payload's end.
        self.data_end: Final = wire.data_end(self.size)

    def with_layer(self, name: str, ctx: dict[str, Any]) -> BoundContext:
        """A context with one more layer.

        Args:
            name: The layer's name; a layer of the same name is replaced where it stands, as in event-tracking.
            ctx: Its keys, which win over those of the layers before it.
        """
        layers = self.layers
        # Most requests have one layer, bound anew for each of them.
        if not layers or (len(layers) == 1 and layers[0][0] == name):
            return BoundContext(((name, ctx),))
        if self.layer(name) is None:
            return BoundContext((*self.layers, (name, ctx)))
        return BoundContext(tuple((layer, ctx if layer == name else old) for layer, old in self.layers))

    def without_layer(self, name: str) -> BoundContext:
        """The context without the layer of that name. Raises KeyError if it was not entered."""
        layers = tuple(entry for entry in self.layers if entry[0] != name)
        if len(layers) == len(self.layers):
            raise KeyError(name)
        return BoundContext(layers) if layers else EMPTY

    def layer(self, name: str) -> dict[str, Any] | None:
        """The dict that was entered under that name, or None."""
        for layer, ctx in self.layers:
            if layer == name:
                return ctx
        return None


def encode_bindable(value: object) -> bytes | None:
    """The JSON of a context, or of a value in one. None where an event cannot have it, or not as it is, such as NaN."""
    try:
        encoded = encode_bounded(value, MAX_CONTEXT_BYTES) if may_expand(value) else wire.encode_json(value)
    except ENCODING_ERRORS:
        return None
    if wire.NULL in encoded and holds_non_finite(value):
        return None
    return encoded


EMPTY: Final = BoundContext(())

_bound: ContextVar[BoundContext] = ContextVar("dispatcher_context", default=EMPTY)

#: A function that returns the caller's own bound context. Neither blocks nor raises.
current: Final = _bound.get


def replace_context(bound: BoundContext) -> BoundContext:
    """Bind ``bound`` in place of all that is bound here, and return what was. Neither blocks nor raises.

    Unlike a contextvar's token, what is returned may be bound again in another thread or task.
    """
    before = _bound.get()
    _bound.set(bound)
    return before


def enter_context(name: str, ctx: Mapping[str, Any]) -> None:
    """Bind ``ctx`` until ``exit_context(name)``, in this thread, task or greenlet. Does not block.

    Args:
        name: Any name. A context entered under the same name is replaced.
        ctx: JSON values by name. A later context wins over an earlier one, key by key.

    Raises:
        TypeError: ``ctx`` is not a mapping, or cannot be read.
    """
    _bound.set(_bound.get().with_layer(name, _copy(name, ctx)))


def exit_context(name: str) -> None:
    """Unbind the context entered under ``name``. Raises KeyError if it was not entered."""
    _bound.set(_bound.get().without_layer(name))


@contextmanager
def context(name: str, ctx: Mapping[str, Any]) -> Iterator[None]:
    """Bind ``ctx`` for the length of a with block; the context that had this name before is bound again after it.

    Args:
        name: As in ``enter_context``.
        ctx: As in ``enter_context``.

    Raises:
        TypeError: ``ctx`` is not a mapping, or cannot be read.
    """
    outside = _bound.get()
    inside = outside.with_layer(name, _copy(name, ctx))
    _bound.set(inside)
    try:
        yield
    finally:
        bound, before = _bound.get(), outside.layer(name)
        if bound is inside:
            _bound.set(outside)
        # Other contexts were entered or exited inside the block, and that stays so.
        elif before is not None:
            _bound.set(bound.with_layer(name, before))
        elif bound.layer(name) is not None:
            _bound.set(bound.without_layer(name))


def _copy(name: str, ctx: Mapping[str, Any]) -> dict[str, Any]:
    if type(ctx) is dict:
        return dict(ctx)
    try:
        if issubclass(type(ctx), Mapping):
            return dict(ctx)
        what = "must be a dict"
    except Exception:  # the code of its own class, or of its metaclass
        what = "must be a dict that can be read"
    raise TypeError(
        f"the context {describe(name, limit=80)} {what}, not {kind_of(ctx)}: "
        "call tracker.context('request', {'user_id': 7}) or the like"
    )
