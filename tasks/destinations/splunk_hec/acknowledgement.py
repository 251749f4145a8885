"""Acknowledgement: asks Splunk until it says that it has indexed a request, and not only received it.

Only a token with indexer acknowledgement has that, which Splunk Cloud offers for Firehose alone. Source:
https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/about-http-event-collector-indexer-acknowledgment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from dispatcher.outcomes import RetryAfter
from dispatcher.tasks.destinations.http import Answer, NoAnswer, Request
from dispatcher.tasks.destinations.splunk_hec.codes import ACK_DISABLED, outcome_of_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Seconds between two questions: twice as long each time.
_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 2.0


class Acknowledgement:
    """Waits for the acknowledgements of one channel. Safe in threads.

    Args:
        url: Where acknowledgements are asked for.
        headers: What proves who asks.
        label: What errors call the destination.
        max_wait_seconds: For how long a request's acknowledgement is waited for.
        send: Sends a request that it is given a function for, and raises nothing.
    """

    def __init__(
        self,
        *,
        url: str,
        headers: Callable[[], Mapping[str, str]],
        label: str,
        max_wait_seconds: float,
        send: Callable[[Callable[[], Request]], Answer | NoAnswer],
    ) -> None:
        #: What Splunk numbers the requests of this process in.
        self.channel: Final = str(uuid4())
        self._url = url
        self._headers = headers
        self._label = label
        self._max_wait = max_wait_seconds
        self._send = send
        self._is_offered = False

    def refusal(self) -> NoAnswer | None:
        """Why nothing may be sent: the token does not acknowledge, so that what it takes would be sent for ever.

        Asks once, and again until Splunk has answered something else.
        """
        if self._is_offered:
            return None
        answer = self._ask(())
        if isinstance(answer, NoAnswer):
            return NoAnswer(answer.outcome, maybe_taken=False)
        body = answer.json()
        if isinstance(body, dict) and body.get("code") == ACK_DISABLED:
            outcome = outcome_of_answer(answer, label=self._label)
            assert isinstance(outcome, RetryAfter)
            return NoAnswer(outcome, maybe_taken=False)
        # Whatever else is wrong, the events' own request is told too.
        self._is_offered = answer.status < 300
        return None

    def wait(self, answer: Answer) -> Answer | NoAnswer:
        """Block until the request of an answer is indexed. Returns the answer, or what it means that it is not.

        Args:
            answer: A request's answer of success, which has the number to ask for.
        """
        body = answer.json()
        number = body.get("ackId") if isinstance(body, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            return self._unknown("gave no ackId, by which to ask whether it is indexed")
        deadline = time.monotonic() + self._max_wait
        pause = _FIRST_PAUSE_SECONDS
        while True:
            asked = self._ask((number,))
            if isinstance(asked, Answer) and _is_indexed(asked, number):
                return answer
            if time.monotonic() + pause > deadline:
                return self._unknown(f"did not say within {self._max_wait:g} s that it has indexed them")
            time.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)

    def _ask(self, numbers: Sequence[int]) -> Answer | NoAnswer:
        body = msgspec.json.encode({"acks": numbers})
        return self._send(
            lambda: Request(
                url=self._url,
                query={"channel": self.channel},
                headers={**self._headers(), "Content-Type": "application/json"},
                body=body,
            )
        )

    def _unknown(self, problem: str) -> NoAnswer:
        error = f"{self._label} took the events and {problem}: they are sent again, and may then be there twice"
        return NoAnswer(RetryAfter(error), maybe_taken=True)


def _is_indexed(answer: Answer, number: int) -> bool:
    body = answer.json()
    acks = body.get("acks") if isinstance(body, dict) else None
    return isinstance(acks, dict) and acks.get(str(number)) is True
