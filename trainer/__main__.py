"""`python -m trainer`: the command `lqtse` of this interpreter, found without a PATH."""

from trainer.cli import main

if __name__ == "__main__":
    main()
