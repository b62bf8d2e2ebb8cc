"""Registration: challenges, credentials, bindings and their bounds (RFC 3261 section 10.3, RFC 8760)."""

import pytest

from relay.agent.phone import Registered, Unregistered
from relay.sip.digest import Challenge
from relay.sip.message import Request, Response
from relay.sip.transaction import Flow
from tests.agent.phone.scripted_phone import PASSWORD, USER, Bench, ScriptedPhone


def register(phone: ScriptedPhone, **headers: str) -> Request:
    return phone.request(
        "REGISTER", "sip:127.0.0.1", to=f"<sip:{USER}@127.0.0.1>", call_id=f"register-{phone.name}", **headers
    )


def algorithms(response: Response) -> list[str]:
    return [Challenge.parse(value).algorithm for value in response.headers.all("WWW-Authenticate")]


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_a_phone_registers_with_either_algorithm(algorithm: str) -> None:
    bench = Bench()
    ok = bench.phone().register(algorithm=algorithm)
    assert ok.status == 200
    assert ok.headers.all("Contact") == ["<sip:alice@127.0.0.1:5070>;expires=300"]
    assert bench.event(Registered) == Registered(USER, 1)


def test_sha_256_is_offered_before_md5() -> None:
    phone = Bench().phone()
    phone.send(register(phone))
    assert algorithms(phone.take(Response)) == ["SHA-256", "MD5"]


def test_a_phone_that_asks_again_without_credentials_is_offered_md5_alone() -> None:
    phone = Bench().phone()
    first = register(phone)
    for _ in range(3):
        phone.send(first)
        assert algorithms(phone.take(Response)) == ["SHA-256", "MD5"], "a retransmission is not asking again"
    phone.send(register(phone))
    assert algorithms(phone.take(Response)) == ["MD5"]
    assert phone.register(algorithm="MD5").status == 200
    phone.send(register(phone))
    assert algorithms(phone.take(Response)) == ["SHA-256", "MD5"]


def test_phones_known_to_stumble_over_sha_256_are_offered_md5_alone() -> None:
    phone = Bench().phone()
    phone.send(register(phone, User_Agent="baresip v1.0.0 (x86_64/linux)"))
    assert algorithms(phone.take(Response)) == ["MD5"]


def test_settings_may_leave_md5_out() -> None:
    phone = Bench(algorithms=("SHA-256",)).phone()
    for _ in range(3):
        phone.send(register(phone))
        assert algorithms(phone.take(Response)) == ["SHA-256"]


@pytest.mark.parametrize(("password", "username"), [("wrong", USER), (PASSWORD, "mallory")])
def test_wrong_credentials_are_403(password: str, username: str) -> None:
    bench = Bench()
    phone = bench.phone()
    phone.authorised(lambda: register(phone), password=password, username=username)
    assert phone.statuses() == [403]
    assert bench.core.registered == 0
    assert bench.core.counters["refused credentials"] == 1
    assert bench.events == []


def test_credentials_cannot_be_replayed() -> None:
    phone = Bench().phone()
    request = phone.authorised(lambda: register(phone))
    assert phone.statuses() == [200]
    request.headers.set("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKreplayed")
    phone.send(request)
    assert phone.statuses() == [401]


def test_a_nonce_of_an_earlier_run_is_stale_and_not_a_wrong_password() -> None:
    before, after = Bench().phone(), Bench(seed=2).phone()
    after.send(before.authorised(lambda: register(before)))
    refusal = after.take(Response)
    assert refusal.status == 401
    assert "stale=true" in refusal.headers.all("WWW-Authenticate")[0]


def test_a_retransmitted_register_is_answered_alike_and_does_nothing_twice() -> None:
    bench = Bench()
    phone = bench.phone()
    request = phone.authorised(lambda: register(phone))
    phone.send(request)
    assert [message.to_bytes() for message in phone.sent[:1]] == [
        message.to_bytes() for message in phone.sent[1:]
    ]
    assert len(bench.events) == 1


def test_another_address_of_record_is_not_found() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.authorised(lambda: phone.request("REGISTER", "sip:127.0.0.1", to="<sip:bob@127.0.0.1>"))
    assert phone.statuses() == [404]
    assert bench.core.registered == 0


def test_a_refresh_is_not_told_and_expiry_is() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.register()
    bench.event(Registered)
    bench.advance(200)
    phone.register()
    bench.advance(200)
    assert bench.events == []
    assert bench.core.registered == 1
    bench.advance(101)
    assert bench.event(Unregistered) == Unregistered(USER)
    assert bench.core.registered == 0


def test_expires_zero_and_the_star_take_bindings_back() -> None:
    bench = Bench()
    one, two = bench.phone(5070), bench.phone(5071)
    one.register()
    two.register()
    assert two.register(expires="0").headers.all("Contact") == ["<sip:alice@127.0.0.1:5070>;expires=300"]
    one.register()
    two.register()
    one.register(expires="0", Contact="*")
    assert bench.core.registered == 0
    assert isinstance(bench.events[-1], Unregistered)


def test_the_star_needs_expires_zero() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.register()
    assert phone.register(Contact="*").status == 400
    assert bench.core.registered == 1


def test_the_interval_has_a_floor_and_a_ceiling() -> None:
    phone = Bench(max_expires=600).phone()
    short = phone.register(expires="5")
    assert (short.status, short.headers.get("Min-Expires")) == (423, "20")
    assert "expires=600" in (phone.register(expires="86400").headers.get("Contact") or "")
    assert "expires=300" in (phone.register(expires="soon").headers.get("Contact") or "")


def test_contacts_have_a_cap_and_the_oldest_makes_room() -> None:
    bench = Bench(max_contacts=2)
    for port in (5070, 5071, 5072):
        ok = bench.phone(port).register()
        bench.advance(1)
    assert bench.core.registered == 2
    assert [value.partition(";")[0] for value in ok.headers.all("Contact")] == [
        "<sip:alice@127.0.0.1:5072>",
        "<sip:alice@127.0.0.1:5071>",
    ]
    assert bench.core.counters["evicted contacts"] == 1


def test_a_phone_that_names_its_instance_replaces_itself() -> None:
    bench = Bench()
    for port in (5070, 5071):
        contact = f'<sip:alice@127.0.0.1:{port}>;+sip.instance="<urn:uuid:1>"'
        bench.phone(port).register(Contact=contact)
    assert bench.core.registered == 1


def test_an_old_register_after_a_newer_one_is_out_of_order() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.register(CSeq="9 REGISTER")
    assert phone.register(CSeq="8 REGISTER").status == 500
    assert bench.core.registered == 1


@pytest.mark.parametrize(
    "contact", ["<tel:+15550100>", ", ".join(f"<sip:a@127.0.0.{n}>" for n in range(1, 10))]
)
def test_contacts_that_cannot_be_taken_are_refused_wholly(contact: str) -> None:
    bench = Bench()
    assert bench.phone().register(Contact=contact).status in (400, 403)
    assert bench.core.registered == 0


def test_only_loopback_may_register() -> None:
    bench = Bench()
    phone = ScriptedPhone(bench, Flow("UDP", "192.0.2.7", 5070), "far")
    bench.phones[phone.flow] = phone
    phone.send(register(phone))
    assert phone.sent == []
    assert bench.core.counters["not loopback"] == 1
