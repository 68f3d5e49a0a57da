"""The NPU simulator: executes the commands of an ENF on byte-addressed SRAM and DRAM, exactly in integers.

There is no hardware behind it: the machine is this project's own model of a Warboy, after its public parameters.
"""
