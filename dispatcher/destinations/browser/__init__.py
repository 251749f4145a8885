"""Browser destinations: vendors whose own script on the page takes the events."""
