"""A small Django project that tracks as Open edX does, before and after it has moved over."""
