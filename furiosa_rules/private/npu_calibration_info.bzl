"""Provider of a calibration."""

NpuCalibrationInfo = provider(
    doc = "What a float model's tensors hold, counted over samples.",
    fields = {
        "calibration": "File: the counts, JSON (docs/quantize.md).",
        "source": "File: the float model.",
        "source_data": "list of Files: what the model refers to.",
    },
)
