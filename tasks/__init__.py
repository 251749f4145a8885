"""What a worker runs: ``celery -A tasks worker`` or ``dispatcher worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["app"]


def __getattr__(name: str) -> Celery:
    # Made when Celery asks for it: importing a destination's module alone must read no settings.
    if name != "app":
        raise AttributeError(name)
    import sys  # noqa: PLC0415

    from tasks.app import app  # noqa: PLC0415

    # The submodule has the same name, and importing it has put itself in the app's place.
    setattr(sys.modules[__name__], name, app)
    return app
