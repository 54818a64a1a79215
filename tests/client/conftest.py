from collections.abc import Iterator

import pytest

from tests.client.support import FakeRecognizer, serving


@pytest.fixture
def recognizer() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture
def address(recognizer: FakeRecognizer) -> Iterator[str]:
    with serving(recognizer) as address:
        yield address
