"""gir, the graph of tiles: how each NPU operator is split over PEs and time, and which tensors live in SRAM."""
