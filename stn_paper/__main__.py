"""`python -m stn_paper <command>`: see `cli`."""

from .cli import main

if __name__ == "__main__":
    main()
