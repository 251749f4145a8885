"""Suppression: who is to be forgotten, known by hashes, so that nothing of them comes back."""
