"""A Celery app of a site, whose tasks emit. ``n`` is the number of the request that sent them."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, chord

from dispatcher import tracker
from dispatcher.contrib.celery import install

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_BROKER"])
app.conf.update(task_default_queue="shop", broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
install(app)


def emit(step: str, n: int) -> None:
    time.sleep(n % 5 / 1000)
    tracker.emit("shop.counted", {"n": n, "step": step})


@app.task(name="shop.plain")
def plain(n: int, step: str = "plain") -> None:
    emit(step, n)


@app.task(name="shop.retried", bind=True, default_retry_delay=0)
def retried(self: Any, n: int) -> None:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    emit("retried", n)


@app.task(name="shop.link")
def link(_before: object, n: int, step: str) -> None:
    emit(step, n)


@app.task(name="shop.parent")
def parent(n: int) -> None:
    plain.delay(n, "child")
    emit("parent", n)


@app.task(name="shop.fails")
def fails(n: int) -> None:
    tracker.enter_context("left over", {"left_over": n})
    emit("fails", n)
    raise KeyError(n)


def send_all(n: int) -> None:
    """Send tasks by every road that Celery has."""
    plain.delay(n)
    retried.delay(n)
    (link.si(None, n, "link 1") | link.s(n, "link 2")).delay()
    chord([plain.si(n, "member"), plain.si(n, "member")], link.s(n, "body")).delay()
    app.send_task("shop.plain", (n, "by name"), headers={"own": "header"})
    parent.apply_async((n,))
    fails.delay(n)
