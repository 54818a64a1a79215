"""`python -m server serve`: the server's commands without the client's."""

import click

from server.cli import models, serve

if __name__ == "__main__":
    click.Group("chorus", commands={"serve": serve, "models": models})()
