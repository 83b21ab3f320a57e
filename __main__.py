"""`python -m secateur`, and with several processes `torchrun … -m secateur`."""

from .cli.main import main

if __name__ == "__main__":
    main()
