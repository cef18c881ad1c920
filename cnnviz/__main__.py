"""``python -m cnnviz`` and the ``cnnviz`` script."""

from __future__ import annotations

import os
import sys

from cnnviz.cli import process
from cnnviz.cli.shells import ASKED


def main() -> None:
    """Run the command line and end the process; Ctrl-C at any moment means 130, no traceback."""
    try:
        process.set_up()
        if ASKED in os.environ:
            from cnnviz.cli.completion import answer

            sys.stdout.write(f"{answer(sys.argv[1:])}\n")
            sys.exit(0)
        from cnnviz.cli.app import app_for

        app_for(sys.argv[1:])()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        text = process.exhausted(error)
        if text is None:
            raise
        sys.stderr.write(text)
        process.leave(1)
    except SystemExit as end:
        process.leave(end.code)
        raise


if __name__ == "__main__":
    main()
