"""The command ``dispatcher``. Each command is a module of its own; this one only brings them together."""

from dispatcher.cli.main import main

__all__ = ["main"]
