"""``python -m cnnviz`` and the ``cnnviz`` script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C at any moment ends it with 130, not with a traceback."""
    try:
        from cnnviz.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
