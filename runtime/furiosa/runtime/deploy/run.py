"""Runs a model of this bundle on the NPU simulator, with the runtime that lies beside it in runtime/.

Any Python from 3.6 on can read this file, so that one that cannot load the runtime is told so in one sentence.
"""

import json
import os
import shutil
import sys

FOLDER = os.path.dirname(os.path.realpath(__file__))
RUNTIME = os.path.join(FOLDER, "runtime")


def unfit(requires):
    """Why this interpreter cannot load the runtime, as a sentence; None where it can."""
    major, minor = requires["python"]
    version = list(sys.version_info[:2])
    right = version == [major, minor] if requires["exact"] else version >= [major, minor]
    if sys.implementation.name != "cpython" or not right:
        wanted = f"CPython {major}.{minor}" + ("" if requires["exact"] else " or later")
        found = f"{sys.implementation.name} {version[0]}.{version[1]}"
        return f"the runtime in this bundle needs {wanted}, and {sys.executable} is {found}"
    if requires["system"] is None:
        return None
    machine = os.uname().machine if hasattr(os, "uname") else "unknown"
    bits = 64 if sys.maxsize > 2**32 else 32
    if (sys.platform, machine, bits) != (requires["system"], requires["machine"], 64):
        wanted = f"{requires['system']} on {requires['machine']}"
        return f"the runtime in this bundle is for {wanted}, and this is {sys.platform} on {machine}, {bits} bits"
    if requires["glibc"] is not None:
        found = _glibc()
        if not found or [int(n) for n in found.split(".")[:2]] < requires["glibc"]:
            wanted = "glibc {}.{}".format(*requires["glibc"])
            found = f"glibc {found}" if found else "another C library"
            return f"the runtime in this bundle needs {wanted} or later, and this is {found}"
    return None


def _glibc():
    """The version of glibc, like "2.36"; empty where the C library is another one."""
    try:
        name, _, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")
    except (ValueError, OSError, AttributeError):
        return ""
    return version if name == "glibc" else ""


def main():
    """Hands on to the runtime; returns the exit code."""
    try:
        with open(os.path.join(RUNTIME, "requires.json"), encoding="ascii") as f:
            requires = json.load(f)
        sentence = unfit(requires)
    except (OSError, ValueError, LookupError, TypeError) as e:
        print(f"ERROR: the bundle in {FOLDER} is not complete: {type(e).__name__}: {e}", file=sys.stderr)
        return 2
    if sentence:
        # another interpreter of this machine may do
        other = shutil.which("python{}.{}".format(*requires["python"]))
        if other and "FURIOSA_SECOND_PYTHON" not in os.environ:
            os.environ["FURIOSA_SECOND_PYTHON"] = other
            os.execv(other, [other, "-I", "-S", os.path.abspath(__file__)] + sys.argv[1:])
        print("ERROR: " + sentence, file=sys.stderr)
        return 2
    sys.path.insert(0, RUNTIME)
    try:
        from furiosa.runtime.deploy.program import main as run
    except Exception as e:  # noqa: BLE001  whatever it is, it is told
        reason = str(e).strip().splitlines() or [type(e).__name__]
        print(f"ERROR: the runtime in {RUNTIME} cannot be loaded: {reason[-1]}", file=sys.stderr)
        return 2
    return run(FOLDER)


if __name__ == "__main__":
    sys.exit(main())
