"""What the tests in a browser share."""

import pytest

from tests.book.browsing import chromium


@pytest.fixture(scope="module")
def browser():
    """Return a headless Chromium."""
    with chromium() as running:
        yield running
