"""Where the quantised model has QuantizeLinear and DequantizeLinear, and with which numbers."""
