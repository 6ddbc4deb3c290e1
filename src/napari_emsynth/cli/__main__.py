"""``python -m napari_emsynth.cli``: the command line without its console script."""

import sys

from napari_emsynth.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
