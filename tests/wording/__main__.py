"""`python -m wording`, in tests/: prints what it finds, and exits with 1 if there is anything."""

import sys

from wording import findings

found = list(findings())
sys.stdout.writelines(f"{line}\n" for line in found)
sys.exit(1 if found else 0)
