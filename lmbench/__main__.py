"""`python -m lmbench` is the console command."""

from lmbench.cli.main import main

if __name__ == "__main__":
    main()
