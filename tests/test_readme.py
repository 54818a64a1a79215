"""The README's code is the code that other tests run, and its links lead somewhere."""

import re
from pathlib import Path

import client.client
import client.sync
from tests.client.test_examples import example

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_client_code_is_the_clients_own_example_which_is_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert [block.strip() for block in blocks] == [
        example(client.client.__doc__).strip(),
        example(client.sync.__doc__).strip(),
    ]


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
