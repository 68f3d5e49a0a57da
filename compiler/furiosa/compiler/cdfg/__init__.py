"""cdfg, the clustered graph: NPU clusters and host clusters in order, and what crosses between them."""
