"""Ranges: the float model runs over samples, its values are counted, and a method chooses from the counts."""
