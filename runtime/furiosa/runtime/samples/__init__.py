"""Samples: the tensors that a model runs on, out of files, read one at a time.

``open_samples`` is the only reader of data: whatever takes samples (``furiosa run``, ``compare``, ``accuracy``, calibration) takes the same
files by the same rules (docs/samples.md).
"""

from furiosa.runtime.samples.preprocessing import Preprocessing
from furiosa.runtime.samples.reader import LABELS, Sample, Samples, open_samples

__all__ = ["LABELS", "Preprocessing", "Sample", "Samples", "open_samples"]
