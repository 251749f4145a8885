"""The demo: ``shop`` is a small web app that emits; ``python -m dispatcher.local.demo`` shows where its events land."""
