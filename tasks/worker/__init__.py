"""Worker: what runs beside the deliveries in a worker, and ends with it."""
