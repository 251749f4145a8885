"""A destination in trouble, which has all that must not leave in its variables and in what it says."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from pydantic import SecretStr

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.event import decode
from dispatcher.outcomes import Dead, Outcome, RetryAfter


class TroubledOptions(Options):
    trouble: Literal["raises", "buries", "waits"]
    api_token: SecretStr


class Troubled(Destination[TroubledOptions]):
    """Does with every batch what its settings say."""

    Options = TroubledOptions

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        token = self.options.api_token.get_secret_value()
        event = decode(batch.payloads[0])
        said = f"{event.data} of {event.context} was refused at https://api.example/collect?api_token={token}"
        # As segment-analytics-python does for each request that failed.
        logging.getLogger("segment").error("error uploading: %s", said)
        match self.options.trouble:
            case "buries":
                return [Dead("no_such_course", said)] * len(batch.payloads)
            case "waits":
                return [RetryAfter(said)] * len(batch.payloads)
            case "raises":
                try:
                    _ = {}[said]
                except KeyError as error:
                    raise RuntimeError(said) from error
        raise AssertionError
