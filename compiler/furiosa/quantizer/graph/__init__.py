"""The float model as the quantiser works on it: imported, its constants folded, its normalisations in the weights."""
