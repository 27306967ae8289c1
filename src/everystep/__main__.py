"""`python -m everystep` is the command `everystep`."""

from everystep.cli import main

if __name__ == "__main__":
    main()
