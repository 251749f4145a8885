"""One line for each framework. A module for each, which imports its framework and no other."""
