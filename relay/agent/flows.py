"""The flows of one agent: every token bound at our contact point, in small groups that share nothing else."""

from relay.agent.contacts import ContactBook
from relay.agent.flow import MOST_TOKENS, FlowClient, MessageSender, OnMessage
from relay.core import Entropy, TransportUnavailable
from relay.wire import OnionDialer


class Flows:
    """One `FlowClient` for up to eight tokens; as contacts come and go, so do tokens.

    Groups are drawn at random, so that two tokens of one flow are as likely strangers as friends; drawing them anew
    each period, and over several contact points, is not built yet.
    """

    def __init__(
        self,
        dialer: OnionDialer,
        onion: str,
        entropy: Entropy,
        on_message: OnMessage,
    ) -> None:
        self._dialer = dialer
        self._onion = onion
        self._entropy = entropy
        self._on_message = on_message
        self._flows: list[FlowClient] = []
        self._sender = MessageSender(dialer, entropy)

    async def follow(self, book: ContactBook) -> None:
        """Bind the tokens of all contacts in `book`, and no others."""
        wanted = {contact.token.token: contact.token for contact in book}
        carried: set[str] = set()
        for flow in list(self._flows):
            for token in flow.tokens - wanted.keys():
                flow.remove_token(token)
            carried |= flow.tokens
            if not flow.tokens:
                self._flows.remove(flow)
                await flow.close()
        for token in wanted.keys() - carried:
            self._roomy().add_token(wanted[token])

    def bound(self, token: str) -> bool:
        """Whether `token` is taken up at the contact point right now."""
        return any(token in flow.tokens and flow.connected for flow in self._flows)

    async def wait_bound(self, token: str, timeout: float) -> None:
        """Return once `token` is taken up.  Raises `TransportUnavailable`."""
        for flow in self._flows:
            if token in flow.tokens:
                await flow.wait_connected(timeout)
                return
        raise TransportUnavailable("the contact point is not reached yet; try again")

    def hurry(self) -> None:
        """Tor is back: connect again now, not after the next pause."""
        for flow in self._flows:
            flow.hurry()

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """Hand a sealed body to a contact's contact point.  Raises `TransportUnavailable`."""
        await self._sender.send(onion, token, body)

    async def close(self) -> None:
        for flow in self._flows:
            await flow.close()
        self._flows.clear()

    def _roomy(self) -> FlowClient:
        """A flow with room for one more token, each as likely; a new one where all are full."""
        roomy = [flow for flow in self._flows if len(flow.tokens) < MOST_TOKENS]
        if roomy:
            return self._entropy.choice(roomy)
        flow = FlowClient(
            self._dialer,
            self._onion,
            (),
            self._entropy,
            self._on_message,
        )
        self._flows.append(flow)
        flow.start()
        return flow
