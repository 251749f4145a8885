"""``python -m dispatcher``: the same as the command ``dispatcher``."""

import os
import sys

# Where the command finds no modules either: a destination's module has to be where workers find it too.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from dispatcher.cli import main

main()
