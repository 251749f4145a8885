"""A small Django project with tests of its own, run by Django's runner: it wants its settings before all else."""
