"""A server of a test's own, which ``with`` starts, and of which nothing is left afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Server(ABC):
    """What can be started and closed. One that does not come up is closed too: no process or directory outlives it."""

    @abstractmethod
    def start(self) -> Self:
        """Start it, and wait until it answers."""

    @abstractmethod
    def close(self) -> None:
        """End it, and delete what it kept. May be called twice, and where nothing was started."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()
