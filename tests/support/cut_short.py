"""CutShort: a batch store whose connection is cut within a put."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store.batches import BatchStore
from dispatcher.store.doorbell import Ring
from dispatcher.store.put import Put
from tests.support.site import Site


class CutShort(BatchStore):
    """A store whose next put is interrupted: some of its commands are carried out, and no answer comes."""

    def __init__(self, site: Site, *, carried_out: int) -> None:
        super().__init__(RedisPool(site.redis.url, timeout_seconds=30))
        self._carried_out: int | None = carried_out

    def put_and_ring(self, puts: Sequence[Put], *, here: bool) -> tuple[list[int | None], list[Ring]]:
        if self._carried_out is None:
            return super().put_and_ring(puts, here=here)
        super().put_and_ring(puts[: self._carried_out], here=here)
        self._carried_out = None
        raise StoreUnavailableError("the connection was cut")
