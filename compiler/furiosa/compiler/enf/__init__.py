"""enf, the last stage: the linear program encoded as an Executable NPU Format file."""
