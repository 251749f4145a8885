"""Templates: the small languages of the settings, which say where a value is and how one is made."""
