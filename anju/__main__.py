"""`python -m anju` is the `anju` command."""

from anju.cli import main

if __name__ == "__main__":
    main()
