"""A failover that loses what the old primary had acknowledged: what a site has to do all the same."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.errors import StoreUnavailableError
from tests.support.deliveries import LOG
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once, read_lines
from tests.support.waiting import wait_for


def assert_nothing_is_lost(
    site: Site, *, cut_replication: Callable[[], object], fail_over: Callable[[], object]
) -> None:
    """Emit 600 events before, during and after a failover, and see each of them once.

    Args:
        site: One whose store is the servers in question.
        cut_replication: Has the replica get nothing more from its primary.
        fail_over: Kills that primary, and waits until the replica has taken its place.
    """
    worker = site.worker()
    child = site.emitting(
        "for n in range(600):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "    if n in (200, 400):\n"
        "        while not os.path.exists(sys.argv[1] + str(n)): time.sleep(0.02)\n"
        "while not os.path.exists(sys.argv[1] + 'end'): time.sleep(0.02)\n"
        "assert dispatcher.flush(60)\n",
        str(site.directory / "go"),
    )
    site.wait_for_lines(200)
    cut_replication()
    (site.directory / "go200").touch()
    # The old primary knows them as put, delivered and settled. The new one knows nothing of them.
    site.wait_for_lines(400)

    fail_over()
    (site.directory / "go400").touch()

    site.wait_for_lines(600, timeout=90)
    wait_for(lambda: _delivered(site) >= 600, 90, what=site.ledger)
    (site.directory / "goend").touch()
    assert "has lost what was put" in child.succeed()
    site.wait_until_delivered(timeout=90)
    assert_each_once(site.log, 600)
    assert {message["properties"]["n"] for message in read_lines(site.directory / "segment.jsonl")} == set(range(600))
    site.assert_ledger_closes()
    assert worker.running, worker.output
    assert worker.stop(60) == 0


def _delivered(site: Site) -> int:
    try:
        return site.counts(LOG).delivered
    except StoreUnavailableError:  # nobody is the primary at this moment
        return 0
