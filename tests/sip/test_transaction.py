"""Timer values and flows."""

from relay.sip.transaction import FINISHED, Flow, Timers, TransactionState


def test_timers_have_the_values_of_table_4() -> None:
    timers = Timers()
    assert (timers.t1, timers.t2, timers.t4, timers.d) == (0.5, 4.0, 5.0, 32.0)
    assert timers.transaction == 32.0


def test_only_udp_is_unreliable() -> None:
    assert not Flow("UDP", "127.0.0.1", 5060).reliable
    assert Flow("TCP", "127.0.0.1", 5060, 3).reliable


def test_a_transaction_that_awaits_a_final_answer_is_not_finished() -> None:
    waiting = {TransactionState.CALLING, TransactionState.TRYING, TransactionState.PROCEEDING}
    assert set(TransactionState) - FINISHED == waiting
