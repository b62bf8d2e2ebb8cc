"""Every codec reads its seeds and what the fuzzer found worth keeping, and refuses as it may."""

import pytest

from tests.fuzz.codec import Codec
from tests.fuzz.codecs import CODECS
from tests.fuzz.kept import CORPUS, of_codec

MOST_KEPT = 64 * 1024
"""Bytes of one file of kept inputs."""


def test_codecs_have_names_of_their_own_and_every_kept_file_belongs_to_one() -> None:
    names = {codec.name for codec in CODECS}
    assert len(names) == len(CODECS)
    files = list(CORPUS.rglob("*.txt"))
    assert {path.stem for path in files} <= names | {"forwarding"}
    assert [path.name for path in files if path.stat().st_size > MOST_KEPT] == []


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_reads_what_is_good_and_refuses_the_rest(codec: Codec) -> None:
    good = [codec.play(seed) for seed in codec.seeds()]
    assert any(good), "none of the seeds is good"
    for data in of_codec(codec.name):
        codec.play(data)
