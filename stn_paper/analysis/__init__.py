"""Numbers from the run records and from the paper's printed tables; nothing here draws."""
