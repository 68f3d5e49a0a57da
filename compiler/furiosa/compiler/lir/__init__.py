"""lir, the linear form: commands in order with addresses and what each waits for."""
