"""Kafka brokers for tests: those of librdkafka's own tests, in a process of their own, which can refuse and go away.

Source: https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h. They keep messages in memory, refuse
sequence numbers that do not follow, and do not check credentials.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Self

from tests.support.server import Server
from tests.support.waiting import PATIENCE

# Kinds of requests, by Kafka's protocol.
_PRODUCE: Final = 0
_PARTITIONS: Final = 4


class KafkaBrokers(Server):
    """Three brokers, and topics of four partitions. Words to them go over a pipe, so that they end with the test."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.topic = ""
        self._topics = 0
        self._consumer: Any = None
        self._read: list[Any] = []
        self.bootstrap = ""

    def start(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.bootstrap = self._say("start")
        self.new_topic()
        return self

    def new_topic(self) -> None:
        """Go on with a topic that has nothing in it, and brokers that are there."""
        self._topics += 1
        self.topic = f"events-{self._topics}"
        self._read = []
        self._let_go()
        self._say("create", self.topic)
        self.set_down(is_down=False)

    def close(self) -> None:
        self._let_go()
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.wait(PATIENCE)
            process.stdout.close()

    def fail_puts(self, code: int, times: int = 1) -> None:
        """Answer the next requests to take messages with an error, by its number in Kafka's protocol."""
        self._say("fail", code, times)

    def fail_topic(self, code: int) -> None:
        """Say of the topic that it has an error, whenever it is asked for; 0: no more."""
        self._say("topic", self.topic, code)

    def set_down(self, *, is_down: bool) -> None:
        """Let all brokers hang up and refuse connections, or be there again."""
        self._say("down", int(is_down))

    def slow_down(self, milliseconds: int) -> None:
        """Let each answer take so long."""
        self._say("slow", milliseconds)

    def messages(self) -> list[Any]:
        """All messages of the topic, in the order of their reading. Those that were read before are kept."""
        import confluent_kafka as kafka

        partitions = [kafka.TopicPartition(self.topic, number, 0) for number in range(_PARTITIONS)]
        if self._consumer is None:
            config = {"bootstrap.servers": self.bootstrap, "group.id": "reader", "log_level": 0}
            # Or each question waits behind a fetch that waits for more.
            config["fetch.wait.max.ms"] = 10
            self._consumer = kafka.Consumer(config)
            self._consumer.assign(partitions)
        total = sum(self._consumer.get_watermark_offsets(each, timeout=PATIENCE)[1] for each in partitions)
        deadline = time.monotonic() + PATIENCE
        while len(self._read) < total and time.monotonic() < deadline:
            self._read += [each for each in self._consumer.consume(1000, timeout=0.1) if each.error() is None]
        assert len(self._read) == total
        return self._read

    def _let_go(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _say(self, *words: object) -> str:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(words) + "\n")
        answer = process.stdout.readline()
        assert answer, "the brokers' process has ended"
        return str(json.loads(answer))


class _Cluster:
    """The brokers, by the functions that librdkafka has for them. The wheel's own library is the one in the process."""

    def __init__(self) -> None:
        import confluent_kafka

        folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
        library = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
        for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(library, name).restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        self._library = library
        # 0: a producer, in which the brokers live. It sends nothing.
        self._handle = ctypes.c_void_p(library.rd_kafka_new(0, None, ctypes.create_string_buffer(512), 512))
        self._brokers = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(self._handle, 3))

    def start(self) -> str:
        return self._library.rd_kafka_mock_cluster_bootstraps(self._brokers).decode()

    def fail(self, code: int, times: int) -> str:
        errors = (ctypes.c_int * times)(*[code] * times)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._brokers, ctypes.c_int16(_PRODUCE), ctypes.c_size_t(times), errors
        )
        return ""

    def create(self, topic: str) -> str:
        self._library.rd_kafka_mock_clear_request_errors(self._brokers, ctypes.c_int16(_PRODUCE))
        self._library.rd_kafka_mock_topic_create(self._brokers, topic.encode(), _PARTITIONS, 3)
        return ""

    def topic(self, topic: str, code: int) -> str:
        self._library.rd_kafka_mock_topic_set_error(self._brokers, topic.encode(), code)
        return ""

    def down(self, is_down: int) -> str:
        function = "rd_kafka_mock_broker_set_down" if is_down else "rd_kafka_mock_broker_set_up"
        for number in (1, 2, 3):
            getattr(self._library, function)(self._brokers, ctypes.c_int32(number))
        return ""

    def slow(self, milliseconds: int) -> str:
        for number in (1, 2, 3):
            self._library.rd_kafka_mock_broker_set_rtt(self._brokers, ctypes.c_int32(number), milliseconds)
        return ""


def _serve() -> None:
    cluster = _Cluster()
    for line in sys.stdin:
        word, *arguments = json.loads(line)
        print(json.dumps(getattr(cluster, word)(*arguments)), flush=True)


if __name__ == "__main__":
    _serve()
