"""Words of sentences that depend on a number."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """ "1 thread", "2 threads", "1,000 runs"; `plural` where it is not the noun and an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def are(count: int) -> str:
    """The verb of so many things."""
    return "is" if count == 1 else "are"
