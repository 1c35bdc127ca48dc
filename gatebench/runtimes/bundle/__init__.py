"""A network as a folder of files that really skip: bundle.json, one model a piece, and run.py, which runs them without gatebench."""
