"""Create or refresh the environment: `python -m tools.set_up EXTRA [ENV [CONSTRAINTS]]`.

This file has to parse on every Python there is, so that one too old gets a clear line instead
of a traceback; everything newer lives in `tools.environment`, imported after the check.
"""

import sys

MINIMUM = (3, 11)

if sys.version_info[:2] < MINIMUM:
    sys.exit(
        "Python %d.%d is too old: the book needs %d.%d or newer. "  # noqa: UP031 - f-strings are too new
        "Install one, then name it: make book PYTHON=/path/to/python%d.%d"
        % (tuple(sys.version_info[:2]) + MINIMUM + MINIMUM)
    )

if __name__ == "__main__":
    from tools.environment import main

    sys.exit(main(sys.argv[1:]))
