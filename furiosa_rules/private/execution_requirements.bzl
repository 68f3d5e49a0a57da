"""Execution requirements of every NPU action."""

EXECUTION_REQUIREMENTS = {
    # Every path goes through Args, so `--experimental_output_paths=strip` may rewrite it: the same
    # command, and the same cache entry, in every configuration.
    "supports-path-mapping": "1",

    # An artifact that comes from its inputs alone needs no network, whatever the sandbox's default is.
    "block-network": "1",
}
