import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.sip.digest import (
    Authenticator,
    Challenge,
    Credentials,
    NonceOffice,
    Outcome,
    Verdict,
    compute_response,
)

NOW = 1000.0

RFC_7616 = {  # Section 3.9.1
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
}


def phone(authenticator: Authenticator, algorithm: str = "SHA-256", **changes: str) -> Credentials:
    """What a phone makes of our challenge."""
    challenge = next(c for c in authenticator.challenges(NOW) if c.algorithm == algorithm)
    values = {"username": "alice", "password": "secret", "method": "REGISTER", "uri": "sip:h", "cnonce": "c"}
    values.update(changes)
    return Challenge.parse(str(challenge)).answer(
        username=values["username"],
        password=values["password"],
        method=values["method"],
        uri=values["uri"],
        cnonce=values["cnonce"],
        count=1,
    )


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator("bayonne", {"alice": "secret"}, SeededEntropy(1))


@pytest.mark.parametrize("algorithm", RFC_7616)
def test_rfc_7616_section_3_9_1(algorithm: str) -> None:
    text = f"""Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html",
        algorithm={algorithm},
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{RFC_7616[algorithm]}",
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS" """
    credentials = Credentials.parse(" ".join(text.split()))
    assert credentials.opaque == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    computed = compute_response(
        credentials.algorithm,
        username=credentials.username,
        realm=credentials.realm,
        password="Circle of Life",
        method="GET",
        uri=credentials.uri,
        nonce=credentials.nonce,
        nc=credentials.nc,
        cnonce=credentials.cnonce,
    )
    assert computed == credentials.response == RFC_7616[algorithm]
    assert Credentials.parse(str(credentials)) == credentials


def test_rfc_2617_section_3_5() -> None:
    computed = compute_response(
        "MD5",
        username="Mufasa",
        realm="testrealm@host.com",
        password="Circle Of Life",
        method="GET",
        uri="/dir/index.html",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        nc="00000001",
        cnonce="0a4f113b",
    )
    assert computed == "6629fae49393a05397450978507c4ef1"


def test_without_qop_it_is_rfc_2069() -> None:
    keys = {"username": "a", "realm": "r", "password": "p", "method": "M", "uri": "u", "nonce": "n"}
    plain = compute_response("MD5", **keys, nc="", cnonce="", qop="")
    assert plain == compute_response("MD5", **keys, nc="1", cnonce="2", qop="")
    assert plain != compute_response("MD5", **keys, nc="1", cnonce="2")
    with pytest.raises(MisuseError):
        compute_response("SHA-1", **keys, nc="", cnonce="")


def test_challenges_come_best_first_with_one_nonce(authenticator: Authenticator) -> None:
    first, second = authenticator.challenges(NOW, stale=True)
    assert (first.algorithm, second.algorithm) == ("SHA-256", "MD5")
    assert first.nonce == second.nonce
    assert first.stale
    assert Challenge.parse(str(first)) == first
    assert authenticator.challenges(NOW)[0].nonce != first.nonce


def test_a_challenge_with_commas_and_quotes_in_the_realm() -> None:
    challenge = Challenge.parse(
        'Digest realm="a, \\"b\\"=c", nonce="n", qop="auth-int, auth", algorithm=sha-256'
    )
    assert (challenge.realm, challenge.qop, challenge.algorithm) == (
        'a, "b"=c',
        ("auth-int", "auth"),
        "SHA-256",
    )
    assert Challenge.parse(str(challenge)) == challenge


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_right_credentials_are_accepted_once(authenticator: Authenticator, algorithm: str) -> None:
    value = str(phone(authenticator, algorithm))
    assert authenticator.verify([value], "REGISTER", NOW + 1) == Verdict(Outcome.ACCEPTED, "alice")
    assert authenticator.verify([value], "REGISTER", NOW + 1) == Verdict(Outcome.STALE)


@pytest.mark.parametrize(
    "changes", [{"username": "bob"}, {"password": "Secret"}, {"method": "INVITE"}, {"username": "Alice"}]
)
def test_wrong_credentials_are_refused(authenticator: Authenticator, changes: dict[str, str]) -> None:
    value = str(phone(authenticator, **changes))
    assert authenticator.verify([value], "REGISTER", NOW).outcome is Outcome.REFUSED


def test_what_was_signed_cannot_be_changed(authenticator: Authenticator) -> None:
    good = str(phone(authenticator))
    for old, new in (("sip:h", "sip:i"), ("nc=00000001", "nc=00000002"), ('cnonce="c"', 'cnonce="d"')):
        assert authenticator.verify([good.replace(old, new)], "REGISTER", NOW).outcome is Outcome.REFUSED


def test_no_credentials_of_our_realm(authenticator: Authenticator) -> None:
    other = str(phone(authenticator)).replace("bayonne", "elsewhere")
    assert authenticator.verify([], "REGISTER", NOW).outcome is Outcome.ABSENT
    assert authenticator.verify([other], "REGISTER", NOW).outcome is Outcome.ABSENT
    assert authenticator.verify([other, str(phone(authenticator))], "REGISTER", NOW).username == "alice"


def test_qop_is_required(authenticator: Authenticator) -> None:
    challenge = authenticator.challenges(NOW)[0]
    response = compute_response(
        "SHA-256",
        username="alice",
        realm="bayonne",
        password="secret",
        method="REGISTER",
        uri="sip:h",
        nonce=challenge.nonce,
        nc="",
        cnonce="",
        qop="",
    )
    value = str(Credentials("alice", "bayonne", challenge.nonce, "sip:h", response, "SHA-256"))
    assert authenticator.verify([value], "REGISTER", NOW).outcome is Outcome.REFUSED
    with pytest.raises(PeerError, match="no qop"):
        Challenge("r", "n", qop=()).answer(
            username="a", password="b", method="M", uri="u", count=1, cnonce="c"
        )


def test_old_and_foreign_nonces_are_stale(authenticator: Authenticator) -> None:
    value = str(phone(authenticator))
    assert authenticator.verify([value], "REGISTER", NOW + 301).outcome is Outcome.STALE
    assert authenticator.verify([value], "REGISTER", NOW - 1).outcome is Outcome.STALE
    stranger = Authenticator("bayonne", {"alice": "secret"}, SeededEntropy(2))
    assert stranger.verify([value], "REGISTER", NOW).outcome is Outcome.STALE


def counted(authenticator: Authenticator, challenge: Challenge, count: int) -> Outcome:
    value = challenge.answer(
        username="alice", password="secret", method="REGISTER", uri="sip:h", count=count, cnonce="c"
    )
    return authenticator.verify([str(value)], "REGISTER", NOW).outcome


def test_nonce_counts_may_come_late_but_only_once(authenticator: Authenticator) -> None:
    challenge = authenticator.challenges(NOW)[0]
    accepted = [
        n
        for n in (1, 3, 2, 3, 2, 100, 37, 36, 37, 101, 0, 2**32 - 1)
        if counted(authenticator, challenge, n) is Outcome.ACCEPTED
    ]
    assert accepted == [1, 3, 2, 100, 37, 101, 2**32 - 1]


def test_memory_is_bounded_and_what_was_forgotten_cannot_be_replayed() -> None:
    authenticator = Authenticator("bayonne", {"alice": "secret"}, SeededEntropy(3), capacity=4)
    now = NOW
    values = []
    for _ in range(8):
        now += 0.5
        challenge = authenticator.challenges(now)[0]
        value = str(
            challenge.answer(
                username="alice", password="secret", method="REGISTER", uri="sip:h", count=1, cnonce="c"
            )
        )
        assert authenticator.verify([value], "REGISTER", now).outcome is Outcome.ACCEPTED
        values.append(value)
    assert len(authenticator._used) == 4
    assert {authenticator.verify([value], "REGISTER", now).outcome for value in values} == {Outcome.STALE}


def test_nonces_have_one_spelling() -> None:
    office = NonceOffice(bytes(32))
    nonce = office.issue(NOW, SeededEntropy(1))
    assert office.issued_at(nonce) == 1_000_000
    twins = [nonce[:-2] + "A=", nonce.replace("=", "") + "A", nonce + "=", " " + nonce[:-1], nonce.swapcase()]
    spelling = [nonce[:42] + chr(code) + "=" for code in range(33, 127)]
    assert [text for text in [*twins, *spelling, "", "é" * 44] if office.issued_at(text) is not None] == [
        nonce
    ]
    with pytest.raises(MisuseError):
        NonceOffice(b"short")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Digest",
        "Basic YTpi",
        "Digest ,",
        "Digest a",
        "Digest username",
        'Digest username="a", username="b"',
        'Digest username="a',
        'Digest username="a"b',
        "Digest " + "a=b," * 40,
        "Digest " + "," * 60000,
        'Digest username="' + "\\" * 60000,
    ],
)
def test_malformed_values(text: str, authenticator: Authenticator) -> None:
    for parse in (Credentials.parse, Challenge.parse):
        with pytest.raises(PeerError):
            parse(text)
    assert authenticator.verify([text], "REGISTER", NOW).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        ("algorithm=SHA-256", "algorithm=MD5"),
        ("qop=auth", "qop=^uth"),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=-0000001"),
        ("nc=00000001, ", ""),
        ('username="alice", ', ""),
        ('response="', 'response="g'),
        ("sip:h", ""),
    ],
)
def test_credentials_that_cannot_be(authenticator: Authenticator, old: str, new: str) -> None:
    good = str(phone(authenticator))
    assert old in good
    with pytest.raises(PeerError):
        Credentials.parse(good.replace(old, new))


def test_credentials_cannot_break_out() -> None:
    for changes in ({"username": "a\r\nEvil: x"}, {"uri": "\0"}, {"qop": "auth, x", "nc": "1"}):
        values = {"username": "a", "realm": "r", "nonce": "n", "uri": "u", "response": "0"} | changes
        with pytest.raises(MisuseError):
            str(Credentials(**values))


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(username=words, realm=words, password=words, uri=words, cnonce=words, count=st.integers(1, 2**32 - 1))
def test_what_a_client_writes_a_server_accepts(
    username: str, realm: str, password: str, uri: str, cnonce: str, count: int
) -> None:
    authenticator = Authenticator(realm, {username: password}, SeededEntropy(4))
    for challenge in authenticator.challenges(NOW):
        credentials = Challenge.parse(str(challenge)).answer(
            username=username, password=password, method="INVITE", uri=uri, count=count, cnonce=cnonce
        )
        assert Credentials.parse(str(credentials)) == credentials
        if challenge.algorithm == "SHA-256":
            assert authenticator.verify([str(credentials)], "INVITE", NOW).username == username


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_texts_raise_only_peer_error(text: str) -> None:
    good = str(phone(Authenticator("bayonne", {}, SeededEntropy(5))))
    for value in (text, f"Digest {text}", good + text, good.replace("alice", text)):
        for parse in (Credentials.parse, Challenge.parse):
            try:
                parse(value)
            except PeerError:
                continue
