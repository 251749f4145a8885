"""A failing destination, whose variables and errors contain everything that must not leave the machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from pydantic import SecretStr

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.event import decode
from dispatcher.outcomes import Dead, Outcome, RetryAfter


class TroubledOptions(Options):
    trouble: Literal["raises", "refuses", "waits"]
    api_token: SecretStr


class Troubled(Destination[TroubledOptions]):
    """Fails with every batch in the way that its settings say."""

    Options = TroubledOptions

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        token = self.options.api_token.get_secret_value()
        event = decode(batch.payloads[0])
        error_text = f"{event.data} of {event.context} was refused at https://api.example/collect?api_token={token}"
        # Like segment-analytics-python for each failed request.
        logging.getLogger("segment").error("error uploading: %s", error_text)
        match self.options.trouble:
            case "refuses":
                return [Dead("no_such_course", error_text)] * len(batch.payloads)
            case "waits":
                return [RetryAfter(error_text)] * len(batch.payloads)
            case "raises":
                try:
                    _ = {}[error_text]
                except KeyError as error:
                    raise RuntimeError(error_text) from error
        raise AssertionError
