"""Libraries that warn of what is meant, while they write a model."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def errors_only(*loggers: str) -> Iterator[None]:
    """These loggers, "" for the root, show errors alone while the block runs; then as before."""
    before = {each: logging.getLogger(each).level for each in loggers}
    for each in loggers:
        logging.getLogger(each).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in before.items():
            logging.getLogger(each).setLevel(level)
