"""`python -m gatebench`."""

from .cli import main

main()
