"""From a float model to an int8 one: calibration, ranges, placement.

``graph`` cleans the float model, ``calibrate`` runs it over samples and chooses a range for each tensor, ``place`` writes the
model with QuantizeLinear and DequantizeLinear where the compiler says that the NPU takes what lies between.
"""

from __future__ import annotations

# the vendor's names (``vendor``), imported where somebody asks for them: modules of this package need none of them
__all__ = [
    "CalibrationMethod",
    "Calibrator",
    "ModelEditor",
    "TensorType",
    "get_output_names",
    "get_pure_input_names",
    "quantize",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from furiosa.quantizer import vendor

    return getattr(vendor, name)
