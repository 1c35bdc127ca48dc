"""Where the clones of the public repositories lie: in the folder $REPOSITORIES, under the names that git gives them."""

import os
import sys
from pathlib import Path


def importable(*places: str) -> None:
    """Let the modules in folders of the clones be imported."""
    sys.path[:0] = [str(Path(os.environ["REPOSITORIES"], place).resolve()) for place in places]
