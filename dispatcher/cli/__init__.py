"""The command ``dispatcher``. Each of its commands is a module."""

from dispatcher.cli.main import main

__all__ = ["main"]
