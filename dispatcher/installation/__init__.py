"""Installation: this copy of dispatcher, how its programs are started from it, and how what it lacks is installed."""
