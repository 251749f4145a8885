"""Templates: the small languages of the settings, for where a value stands and what one is made of."""
