"""Networks as models for other runtimes, which really skip: real images for them, and whether they answer as the network does."""
