"""`python -m anju` is the `anju` command."""

from anju.cli.app import main

if __name__ == "__main__":
    main()
