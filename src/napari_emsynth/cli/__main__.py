"""``python -m napari_emsynth.cli``: the command line without its console script."""

import sys

from napari_emsynth.cli import main

if __name__ == "__main__":
    sys.exit(main())
