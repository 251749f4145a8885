"""Request: what a request takes with a middleware that binds its context and one emit, and what it takes without.

The app is called as a server calls it, in this process: no socket stands between. The visitor is not signed in, so that
no database is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module
from statistics import median
from typing import Final

from tests.benchmarks.emitters import open_emitter
from tests.benchmarks.pacing import warm_up
from tests.benchmarks.place import Place
from tests.benchmarks.sample import data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.web_apps.browser import Ask

_APPS: Final = {"Django": "django_app", "Starlette": "starlette_app"}
_SUBJECTS: Final = ("ours", "event_tracking_log", "event_tracking_async")
# Requests in a row, so that the clock costs nothing and the machine's speed stays the same for a pair of them.
_IN_A_ROW: Final = 20


def steps(plan: Plan) -> Iterator[Step]:
    """Each in both frameworks."""
    for framework, app in _APPS.items():
        for subject in _SUBJECTS:
            yield Step(
                measurement="request",
                subject=subject,
                case=framework,
                measure=measure,
                arguments={"emitter": subject, "app": app, "pairs": plan.request_pairs},
            )


def measure(place: Place, *, emitter: str, app: str, pairs: int) -> Result:
    """Microseconds of a request: medians over pairs of twenty without and twenty with the middleware and the emit."""
    module = import_module(f"tests.benchmarks.web_apps.{app}")
    with RedisServer(place), open_emitter(emitter, place) as opened:
        warm_up(opened, events=200)
        events_data = data()
        opened.unbind()
        bare, whole = module.open_app(emitter, opened, lambda: opened.emit(next(events_data)))
        for ask in (bare, whole):
            _time(ask)
        without: list[float] = []
        with_it: list[float] = []
        for _ in range(pairs):
            opened.settle()
            without.append(_time(bare))
            with_it.append(_time(whole))
        return {
            "request_us": median(with_it),
            "bare_us": median(without),
            "added_us": median(more - less for more, less in zip(with_it, without, strict=True)),
            "dropped": opened.dropped(),
        }


def _time(ask: Ask) -> float:
    began = time.perf_counter()
    ask(_IN_A_ROW)
    return (time.perf_counter() - began) / _IN_A_ROW * 1e6
