"""From a float model to an int8 one: calibration, ranges, placement.

``graph`` cleans the float model, ``calibrate`` runs it over samples and chooses a range for each tensor, ``place`` writes the
model with QuantizeLinear and DequantizeLinear where the compiler says that the NPU takes what lies between.
"""
