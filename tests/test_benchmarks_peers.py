from __future__ import annotations

import ast
import contextlib
from pathlib import Path

import pytest

from benchmarks import page, peer_environment, peer_race, peers
from benchmarks.arena import Contestant, Failed
from benchmarks.peer_catalog import PEERS, Peer
from benchmarks.race import Line, Result
from benchmarks.servers import Server

pytestmark = pytest.mark.once

FOLDER = Path(peers.__file__).parent


class Redis(Server):
    kind = "redis"
    url = "redis://"


def absent(*requirements: str) -> Peer:
    return Peer("absent", "redis", "no results", 10, requirements)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_peers_have_a_module_that_sends_and_works(peer: Peer) -> None:
    text = (FOLDER / f"{peer.module}.py").read_text()
    defined = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert {"send", "work"} <= defined
    assert len(text.splitlines()) <= 40
    assert ast.get_docstring(ast.parse(text))


def test_peers_are_all_in_the_catalog() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "__main__", "site"}
    assert modules == {peer.module for peer in PEERS} | {"dbos_steps"}


def test_steps_are_measured_beside_dbos() -> None:
    server = Redis()
    both = [Contestant(system, server, "") for system in ("django_jobs", "mayu", "dbos")]
    found = peer_race.with_steps(both)
    assert [each.system for each in found] == ["django_jobs", "dbos_steps"]


def test_peer_that_does_not_install_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_race, "PEERS", [absent("nothing")])
    monkeypatch.setattr(peer_environment, "newest_python", lambda: "/bin/false")
    found = peer_race.contestants([Redis()], ["absent"], tmp_path, reasons := [], STACK)
    assert list(found) == []
    assert reasons == ["absent: left out, it did not install"]


def test_peer_without_its_server_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_race, "PEERS", [absent("nothing")])
    assert list(peer_race.contestants([], ["absent"], tmp_path, reasons := [], STACK)) == []
    assert reasons == ["absent: left out, there is no redis"]


def test_peer_that_is_not_chosen_is_not_installed(tmp_path: Path) -> None:
    assert list(peer_race.contestants([Redis()], [], tmp_path, [], STACK)) == []
    assert list(tmp_path.iterdir()) == []


def test_reason_is_the_first_error_of_pip() -> None:
    said = "WARNING: a cache\nERROR: Ignored 1.0 Requires-Python >=3.13\nERROR: none matches\n"
    assert peer_environment.reason_of(said) == "Ignored 1.0 Requires-Python >=3.13"
    assert peer_environment.reason_of("") == "it did not install"


def test_peer_starts_its_commands_in_its_own_python(tmp_path: Path) -> None:
    peer = PEERS[2]
    taking_part = peer_race.PeerContestant(
        peer.module, Redis(), "", python="/there/python", peer=peer, version="9"
    )
    assert taking_part.commands() == [["-m", "benchmarks.peers", "blitzq", "work"]] * 2
    assert taking_part.label == "blitzq 9, redis, results for a day"


def test_latency_of_a_peer_counts_the_jobs_after_those_that_were_drained() -> None:
    begun = {0: 5, 1: 9, 2: 30_000_000, 3: 50_000_000}
    assert peer_race.waits(begun, [10_000_000, 20_000_000], 2) == [20.0, 30.0]
    with pytest.raises(Failed, match="job 3 did not run"):
        peer_race.waits({2: 1}, [1, 1], 2)


def test_page_tells_which_peers_failed(tmp_path: Path) -> None:
    lines = [Line(Contestant(name, Redis(), ""), 10) for name in ("django_jobs", "mayu", "huey")]
    for line, rate in zip(lines, (20.0, 10.0), strict=False):
        line.runs.append({"per_second": rate, "enqueued_per_second": 1.0, "p50_ms": 4.0})
    lines[2].failure = "it broke\nat length"
    page.write(tmp_path, ["a machine"], ["saq: left out"], [Result(peer_race.CASE, lines)])
    assert "- mayu, redis × 2\n     - 0.50\n     - 1.00" in (tmp_path / "peers.txt").read_text()
    tables = (tmp_path / "tables.txt").read_text()
    assert "* huey, redis × 2 failed: ``it broke``\n* saq: left out" in tables


STACK = contextlib.ExitStack()
