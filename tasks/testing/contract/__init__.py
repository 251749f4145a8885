"""DestinationContract: what every destination keeps to, as tests of a class to be subclassed."""

from dispatcher.tasks.testing.contract.answers import AnswersContract
from dispatcher.tasks.testing.contract.packing import PackingContract
from dispatcher.tasks.testing.contract.repeats import RepeatsContract
from dispatcher.tasks.testing.contract.secrecy import SecrecyContract
from dispatcher.tasks.testing.contract.settings import SettingsContract
from dispatcher.tasks.testing.contract.silence import SilenceContract


class DestinationContract(
    SettingsContract, PackingContract, AnswersContract, SilenceContract, RepeatsContract, SecrecyContract
):
    """The tests that every destination passes. A subclass, whose name begins with Test, says what is its own::

        class TestShop(DestinationContract):
            type = "shop"

            def options(self, url):
                return {"url": f"{url}/events", "token": "hidden-token"}

    It has to say ``type`` and ``options``; all else that ``Subject`` has is there to be changed where the vendor has a
    way of its own. The tests start servers on free ports of 127.0.0.1 and need no other network.
    """


__all__ = ["DestinationContract"]
