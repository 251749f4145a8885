"""A Celery task for each event, which posts it to Segment."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.benchmarks.emitters import celery_delay
from tests.benchmarks.plain_celery import post_event

opened: Final = partial(celery_delay.opened, task=post_event)
