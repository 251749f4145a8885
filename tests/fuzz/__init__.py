"""Hostile clients, made at random, against a real site on which a well-behaved client sends events all the time."""
