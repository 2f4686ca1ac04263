"""`python -m repertory` is the `repertory` command."""

from repertory.cli import main

if __name__ == "__main__":
    main()
