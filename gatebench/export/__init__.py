"""Networks as files for other runtimes, which really skip: pieces without branches, and what is next after each."""
