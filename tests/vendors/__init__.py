"""All destinations at once, against stand-ins that enforce what their vendors document: ``python -m tests.vendors``."""
