"""Classifies an image with a model that Bazel compiled: the ENF is in `data` and found through the runfiles.

Run it with `bazel run //examples/inference:classify -- /path/of/image.npy`.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from runfiles import Runfiles

from furiosa.runtime import session
from furiosa.runtime.errors import InvalidInput

# <repository>/<path>, as in the target's label; the bazel-runfiles package finds the file on the disk.
ENF = "furiosa_rules/examples/models/tiny.enf"


def enf_path() -> str:
    """Path of the compiled model on this machine.

    Raises FileNotFoundError when the program runs without its runfiles.
    """
    runfiles = Runfiles.Create()
    path = runfiles.Rlocation(ENF) if runfiles else None
    if path is None:
        raise FileNotFoundError(
            f"{ENF} is not in the runfiles; start the program with bazel run or bazel test"
        )
    return path


def logits(image: np.ndarray) -> np.ndarray:
    """float32 [10], a score for each class, of a float32 [1, 3, 32, 32] image with values in [-1, 1]."""
    with session.create(enf_path()) as sess:
        return sess.run(image).numpy()[0][0]


def main(arguments: list[str] | None = None) -> int:
    """Prints the three best classes; returns the exit status."""
    parser = argparse.ArgumentParser(prog="classify", description="Classifies an image on the simulated NPU.")
    parser.add_argument("image", help="NumPy file with a float32 [1, 3, 32, 32] array in [-1, 1]")
    options = parser.parse_args(arguments)
    try:
        scores = logits(np.load(options.image, allow_pickle=False))
    except (OSError, EOFError, ValueError, InvalidInput) as error:
        print(f"classify: {options.image}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    for index in np.argsort(scores)[::-1][:3]:
        print(f"class {index}: {scores[index]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
