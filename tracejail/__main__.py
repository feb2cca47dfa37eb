"""`python3 -m tracejail`."""

import sys

from tracejail.cli.main import main

sys.exit(main())
