"""``python -m accelir``: the same as the command ``accelir``."""

from accelir.cli import main

if __name__ == "__main__":
    main()
