"""The arithmetic of each instruction on views of the machine's memory.

A kernel gets the operands in the instruction table's order, the parameters by name, and writes its last operand.
"""
