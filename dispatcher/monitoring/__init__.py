"""Monitoring: what the operator is shown, in numbers and in reports."""
