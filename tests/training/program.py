"""The command line with the test's task: `python -m tests.training.program train …`."""

from __future__ import annotations

import tests.training.tiny_task  # noqa: F401  registers itself
from app.cli.main import main

if __name__ == "__main__":
    main()
