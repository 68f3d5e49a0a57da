"""Execution requirements of every NPU action."""

EXECUTION_REQUIREMENTS = {
    # Every path goes through Args, so `--experimental_output_paths=strip` may rewrite it: the same
    # command, and the same cache entry, in every configuration.
    "supports-path-mapping": "1",

    # An artifact that comes from its inputs alone needs no network, whatever the sandbox's default is.
    "block-network": "1",
}

def worker_requirements(protocol):
    """Execution requirements of an action whose tool is a persistent worker of a protocol, or none where it is empty."""
    if not protocol:
        return {}

    return {
        "requires-worker-protocol": protocol,
        "supports-multiplex-sandboxing": "1",
        "supports-multiplex-workers": "1",
        "supports-worker-cancellation": "1",
        "supports-workers": "1",
        # One process for compiling and verifying.
        "worker-key-mnemonic": "NpuCompile",
    }
