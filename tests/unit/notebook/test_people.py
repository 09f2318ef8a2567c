"""What a notebook says about people, where no keeper runs, and what it says to one."""

import socket
import threading

import msgspec
import pytest

from cloche import forget, hold, release_hold
from cloche.erasure.report import Hold
from cloche.errors import NotHeld
from cloche.processes.boot import ServerFile


def test_who_is_held_is_forgotten_once_released(home):
    held = hold("ann", reason="a claim")
    assert (held.number, held.model, held.reason) == (1, None, "a claim")
    refused = forget("ann", reason="ticket 12")
    assert (refused.order, refused.held) == (None, [held])
    assert release_hold("ann", reason="the claim is settled").number == 2
    done = forget("ann", reason="ticket 12")
    assert (done.order, done.done, done.held) == (3, True, [])
    with pytest.raises(NotHeld):
        release_hold("ann", reason="again")


def test_a_hold_may_be_of_one_model_and_another_home(home, tmp_path):
    elsewhere = tmp_path / "elsewhere" / ".cloche"
    held = hold("ann", reason="a claim", model="price", home=elsewhere)
    assert held.model == "price"
    assert forget("ann", reason="ticket 12", model="price", home=elsewhere).held == [held]
    assert forget("ann", reason="ticket 12", model="price").held == []
    assert release_hold("ann", reason="settled", model="price", home=elsewhere).number == 2


def test_no_order_without_a_reason(home):
    with pytest.raises(ValueError, match="reason: say why"):
        hold("ann", reason=" ")
    assert not (home.registry / "erasures").exists()


@pytest.mark.parametrize("model", [None, "price"])
def test_a_keeper_is_told_all_of_it(home, model):
    heard = []

    def listen(keeper):
        connection, _ = keeper.accept()
        with connection, connection.makefile("rb") as said:
            head = b"".join(iter(said.readline, b"\r\n")).lower()
            heard.append(msgspec.json.decode(said.read(int(head.partition(b"content-length:")[2].split()[0]))))
            answer = msgspec.json.encode(Hold(4, model, "me", "a claim", "2026-01-01T00:00:00Z"))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    home.run.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as keeper:
        ServerFile("http://127.0.0.1:1", f"http://127.0.0.1:{keeper.getsockname()[1]}", 1).write(home)
        listening = threading.Thread(target=listen, args=(keeper,))
        listening.start()
        assert hold("ann", reason="a claim", model=model).number == 4
        listening.join()
    by = heard[0].pop("by")
    assert by
    assert heard == [{"subject": "ann", "reason": "a claim"} | ({"model": model} if model else {})]
