"""A site with event-routing-backends in it, for processes of their own: Django is set up once in each."""
