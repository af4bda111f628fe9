"""An id came twice in a push to Valkey: the second was stored, where the server forgot a script."""

import pytest

from tests.services.valkey import Valkey
from tests.store.helpers import message, push
from tests.store.valkey.opening import opened

pytestmark = pytest.mark.server


async def test_the_first_of_two_with_one_id_is_stored(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        valkey.ask("SCRIPT", "FLUSH")
        await push(it)  # the script for one plain message is known again, the other is not
        first = message()
        receipts = await it.push([first, message(), first])
        assert [receipt.stored for receipt in receipts] == [True, True, False]
