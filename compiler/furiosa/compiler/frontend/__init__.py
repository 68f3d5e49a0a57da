"""Frontends: a model file becomes a dfg; a host cluster becomes a model of the same format again."""
