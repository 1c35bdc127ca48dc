"""Data sets as uint8 arrays in memory, and batches of them."""
