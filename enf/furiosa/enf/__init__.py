"""ENF, the executable file: the contract between compiler and runtime.

Executable NPU Format 1.0 is this project's own open format; the vendor's format of that name is not public and is
something else.  This package knows neither the compiler nor the runtime, and nothing in it executes a file.
"""
