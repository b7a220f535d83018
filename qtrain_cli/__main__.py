"""``python -m qtrain_cli``: the same as the command ``qtrain``."""

import sys

from qtrain_cli.cli import main

sys.exit(main())
