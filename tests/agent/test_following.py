"""What people are handed, in every form in which it comes."""

import pytest

from relay.agent.domains import Account, Found
from relay.agent.following import Lead, lead_of, read_handed
from relay.core import ConfigurationError, MisuseError, SeededEntropy
from relay.forward_publish import LISTING_SECRET
from relay.identity import Identity, Invitation, InvitationKind

ENTROPY = SeededEntropy("following")
ALICE = Identity.generate(ENTROPY)
ACCOUNT = Account("alice", "example.org")
HERS, OURS = ("abcdefgh" * 7,), ("bcdefgha" * 7,)
NOW = 1_800_000_000.0
LATER = int(NOW / 3600) + 10


def invitation(expires: int = LATER) -> Invitation:
    return Invitation.generate(InvitationKind.STANDING, ALICE.public_key, HERS, expires, ENTROPY)


def read(text: str) -> Lead | Account:
    return read_handed(text, "Bob", OURS, NOW)


@pytest.mark.parametrize(
    "text",
    [
        ALICE.address,
        ALICE.address.upper(),
        f" {ALICE.address}\n",
        f"{ALICE.address}.bayonne.alt",
        f"alice@{ALICE.address}.bayonne.alt",
        f"alice@example.org@{ALICE.address}.Bayonne.Alt.",
        ALICE.sip_uri("alice"),
        f"SIP:{ALICE.address.upper()}.BAYONNE.ALT",
    ],
)
def test_an_address_leads_to_the_listing_and_no_domain_is_asked(text: str) -> None:
    lead = read(text)
    assert isinstance(lead, Lead)
    assert (lead.public_key, lead.home) == (ALICE.public_key, OURS)
    assert (lead.introducing.secret, lead.introducing.own_name) == (LISTING_SECRET, "Bob")


@pytest.mark.parametrize(
    "text",
    [
        f"alice@{ALICE.address[:-1]}.bayonne.alt",
        f"alice@{'a' * 56}.bayonne.alt",
        "alice@www.bayonne.alt",
        f"x@www.{ALICE.address}.bayonne.alt",
    ],
)
def test_half_an_address_is_no_domain_either(text: str) -> None:
    with pytest.raises(ConfigurationError, match="56 characters"):
        read(text)


def test_an_invitation_leads_to_its_inviter() -> None:
    made = invitation()
    for text in (made.format(), f"<{made.format().upper()}>", f" {made.format()} ", f"{made.format()}."):
        lead = read(text)
        assert isinstance(lead, Lead)
        assert (lead.public_key, lead.home) == (ALICE.public_key, HERS)
        assert (lead.introducing.secret, lead.introducing.expires) == (made.record_secret, LATER * 3600)


@pytest.mark.parametrize("text", ["alice@example.org", "acct:Alice@example.org", "sip:alice@EXAMPLE.org."])
def test_an_account_is_for_its_domain_to_say(text: str) -> None:
    assert read(text) == ACCOUNT


@pytest.mark.parametrize("text", ["", "alice", "bayonne:", "bayonne:abc", "example.org", "bayonne:a@b"])
def test_what_is_nothing_of_these_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigurationError, match="copy all of the line"):
        read(text)


def test_a_domain_names_an_address_or_a_standing_invitation() -> None:
    by_listing = lead_of(Found(ACCOUNT, ALICE.public_key, ALICE.sip_uri("alice")), "Bob", OURS, NOW)
    assert (by_listing.introducing.secret, by_listing.home) == (LISTING_SECRET, OURS)
    made = invitation()
    by_invitation = lead_of(Found(ACCOUNT, ALICE.public_key, made.format()), "Bob", OURS, NOW)
    assert (by_invitation.introducing.secret, by_invitation.home) == (made.record_secret, HERS)
    assert by_listing.public_key == by_invitation.public_key == ALICE.public_key


def test_what_has_expired_leads_nowhere() -> None:
    old = invitation(int(NOW / 3600)).format()
    with pytest.raises(MisuseError, match="has expired"):
        read(old)
    with pytest.raises(MisuseError, match="has expired"):
        lead_of(Found(ACCOUNT, ALICE.public_key, old), "Bob", OURS, NOW)


def test_nothing_of_it_shows_by_accident() -> None:
    lead = read(ALICE.address)
    assert repr(lead) == "Lead()"
