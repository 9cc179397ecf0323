"""The program as `python -m agent`, for where its console script is not installed."""

from agent.cli import main

if __name__ == "__main__":
    main()
