"""dfg, the data-flow graph: the model as imported, batch size applied, every shape static and known."""
