"""`python -m holdline COMMAND`, which is `holdline COMMAND`."""

from bot.__main__ import main

if __name__ == "__main__":
    main()
