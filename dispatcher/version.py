"""Version: pyproject.toml, the commands and everything that tells it to others read it here."""

__version__ = "0.1.0"
