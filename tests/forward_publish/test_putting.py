"""Leaving an entry: as much work as is wanted and reasonable, an answer for each outcome, and no endless trying."""

import pytest

from relay.core import TransportUnavailable
from relay.forward_publish import BASE_BITS, Entry, PutAnswer, PutResult, do_work, put_entry, work_bits
from relay.forward_publish.putting import MOST_WORK, PUT_TRIES
from relay.forward_publish.requests import Put
from tests.forward_publish.shelves import stored_record

ENTRY = stored_record()


class Point:
    """Answers as it was told to, and keeps what was brought."""

    def __init__(self, *answers: PutAnswer | bytes) -> None:
        self.answers = list(answers)
        self.brought: list[Put] = []
        self.worked: list[int] = []

    async def ask(self, request: Put) -> bytes:
        self.brought.append(request)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, bytes) else answer.to_bytes()

    async def work(self, entry: Entry, bits: int) -> bytes:
        self.worked.append(bits)
        return do_work(entry, min(bits, BASE_BITS + 2))

    async def put(self) -> bool:
        return await put_entry(ENTRY, self.ask, self.work)


async def test_what_is_taken_is_put_once_with_work() -> None:
    point = Point(PutAnswer(PutResult.ACCEPTED))
    assert await point.put()
    (brought,) = point.brought
    assert brought.body == ENTRY.body
    assert work_bits(ENTRY, brought.work) >= BASE_BITS


async def test_more_work_is_done_where_it_is_wanted() -> None:
    point = Point(PutAnswer(PutResult.MORE_WORK, BASE_BITS + 2), PutAnswer(PutResult.ACCEPTED))
    assert await point.put()
    assert point.worked == [BASE_BITS, BASE_BITS + 2]
    assert work_bits(ENTRY, point.brought[-1].work) >= BASE_BITS + 2


async def test_an_older_one_is_told_apart_from_a_failure() -> None:
    assert not await Point(PutAnswer(PutResult.OLDER)).put()


@pytest.mark.parametrize(
    "answers",
    [
        [PutAnswer(PutResult.FULL)],
        [b"nonsense"],
        [bytes(64)],
        [PutAnswer(PutResult.MORE_WORK, MOST_WORK + 1)],
        [PutAnswer(PutResult.MORE_WORK, BASE_BITS)],
        [PutAnswer(PutResult.MORE_WORK, BASE_BITS + number) for number in range(1, PUT_TRIES + 1)],
    ],
)
async def test_a_contact_point_wastes_bounded_work(answers: list[PutAnswer | bytes]) -> None:
    point = Point(*answers)
    with pytest.raises(TransportUnavailable):
        await point.put()
    assert not point.answers
    assert len(point.worked) <= PUT_TRIES
