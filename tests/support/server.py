"""Server: the base of the real servers that tests start, which leave nothing behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Server(ABC):
    """Started and closed by ``with``. If the start fails it is closed too, so no process or directory is left."""

    @abstractmethod
    def start(self) -> Self:
        """Start it, and wait until it answers."""

    @abstractmethod
    def close(self) -> None:
        """End it and delete its files. May be called twice, or without a start."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()
