"""DestinationContract: the tests that every destination passes, as a class to subclass; EventsContract: a part."""

from dispatcher.tasks.testing.contract.answers import AnswersContract
from dispatcher.tasks.testing.contract.final_status import FinalStatusContract
from dispatcher.tasks.testing.contract.packing import PackingContract
from dispatcher.tasks.testing.contract.repeats import RepeatsContract
from dispatcher.tasks.testing.contract.secrecy import SecrecyContract
from dispatcher.tasks.testing.contract.settings import SettingsContract
from dispatcher.tasks.testing.contract.setup_errors import SetupErrorsContract
from dispatcher.tasks.testing.contract.silence import SilenceContract
from dispatcher.tasks.testing.contract.values import ValuesContract


class EventsContract(SettingsContract, PackingContract, RepeatsContract, SecrecyContract, ValuesContract):
    """The tests that every destination passes, whatever it speaks: those of its settings, events and texts.

    For one that does not send its requests by ``HttpDestination``; what an answer means to it, its own tests say. Where
    its server speaks another protocol than HTTP, ``vendor`` returns something else with the same face.
    """


class DestinationContract(EventsContract, AnswersContract, FinalStatusContract, SetupErrorsContract, SilenceContract):
    """The tests that every destination over HTTP passes. A subclass, named Test…, defines what is its own::

        class TestShop(DestinationContract):
            type = "shop"

            def options(self, url):
                return {"url": f"{url}/events", "token": "hidden-token"}

    It must define ``type`` and ``options``, and may override everything else of ``Subject`` where the vendor differs.
    The tests start servers on free ports of 127.0.0.1 and need no other network.
    """


__all__ = ["DestinationContract", "EventsContract"]
