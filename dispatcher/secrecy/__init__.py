"""Secrecy: what is secret, and how texts of any origin become ones that may be shown, logged and kept."""
