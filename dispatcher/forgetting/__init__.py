"""Forgetting: a person is looked for, and taken out of, every place that the product writes to."""

from dispatcher.forgetting.change import Change, Deletion
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Place, Watcher

__all__ = ["Change", "Deletion", "Found", "Person", "Place", "Watcher"]
