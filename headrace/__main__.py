"""`python -m headrace` is the command line, where no script was installed."""

from headrace.cli import main

if __name__ == "__main__":
    main(prog_name="headrace")
