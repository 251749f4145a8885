"""Codemod: rewrites calls of Logger into calls of Tracker, where that is sure, and names all others with the reason."""
