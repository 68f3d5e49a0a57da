"""ldfg, the lowered graph: integer operators of the NPU, and for every source operator a verdict on where it runs."""
