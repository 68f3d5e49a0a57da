"""What people look at: one page of a compiled model, its memory, and its timeline as a Chrome trace."""
