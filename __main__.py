"""`python -m secateur`, and with several processes `torchrun … -m secateur`."""

from .cli.main import program

if __name__ == "__main__":
    program()
