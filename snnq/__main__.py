"""``python -m snnq``: the same as ``snnq``."""

from snnq.cli.main import main

if __name__ == "__main__":
    main()
