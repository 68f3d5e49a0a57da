"""``furiosa bench``: runs a model many times and says how long it took, and what the NPU is estimated to take."""
