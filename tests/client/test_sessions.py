"""Logging out, client certificates, and what the context says of them."""

from pathlib import Path

import pytest

from mulligan.client.channels import Channels
from mulligan.client.client import Client
from mulligan.client.context import Context, choose_context, save_context
from mulligan.client.tokens import TokenCache
from mulligan.errors import InvalidArgument, MulliganError, Unauthenticated
from mulligan.proto import v1
from mulligan.tls import TlsFiles
from tests.client.fakes import SECRET, Cluster, FakeRegion


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    return TokenCache(tmp_path / "tokens.json")


async def logged_in(cluster: Cluster, cache: TokenCache) -> None:
    async with Client(cluster.context(), secret=SECRET, cache=cache) as client:
        await client.log_in()


async def test_logging_out_tells_the_server_and_forgets(
    cluster: Cluster, region: FakeRegion, cache: TokenCache
) -> None:
    await logged_in(cluster, cache)
    async with Client(cluster.context(), cache=cache) as client:
        await client.log_out(everywhere=True)
        (asked,) = [m for _, m in region.requests if isinstance(m, v1.LogoutRequest)]
        assert asked.everywhere
        with pytest.raises(Unauthenticated):
            await client.iam.who_am_i()
    assert cache.load().tokens is None


async def test_logging_out_without_a_server_forgets_all_the_same(
    cluster: Cluster, cache: TokenCache
) -> None:
    await logged_in(cluster, cache)
    await cluster.close()
    async with Client(cluster.context(), cache=cache, patience=0.3) as client:
        with pytest.raises(MulliganError):
            await client.log_out()
    assert cache.load().tokens is None


async def test_a_session_that_is_over_is_logged_out_of(
    cluster: Cluster, region: FakeRegion, cache: TokenCache
) -> None:
    await logged_in(cluster, cache)
    region.valid_tokens = set()
    async with Client(cluster.context(), cache=cache) as client:
        await client.log_out()
    assert cache.load().tokens is None


async def test_who_is_not_logged_in_asks_no_server_to_log_out(region: FakeRegion) -> None:
    async with Client(Context(address=("127.0.0.1:1",)), patience=0.3) as client:
        await client.log_out()


def test_a_certificate_that_cannot_be_used_says_so(tls: TlsFiles, tmp_path: Path) -> None:
    for cert, key in ((tmp_path / "none.pem", tls.key), (tls.cert, tls.ca)):
        with pytest.raises(InvalidArgument, match="cannot use the certificate"):
            Channels(str(tls.ca), cert=str(cert), key=str(key))


def test_a_context_keeps_its_certificate_and_another_account_does_not_use_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.toml"
    kept = Context(address=("a:1",), account="ada", cert="ada.pem", key="ada.key")
    save_context(path, "lab", kept)
    chosen = choose_context(path, environ={}).context
    assert (chosen.cert, chosen.key) == (str(tmp_path / "ada.pem"), str(tmp_path / "ada.key"))
    other = choose_context(path, environ={}, overrides={"account": "bob"}).context
    assert (other.cert, other.key) == ("", "")
    named = {"MULLIGAN_CERT": "/c.pem", "MULLIGAN_KEY": "/c.key"}
    from_environment = choose_context(path, environ=named).context
    assert (from_environment.cert, from_environment.key) == ("/c.pem", "/c.key")


def test_another_control_plane_is_asked_for_its_own_region_and_not_told_this_one_s_secret(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.toml"
    kept = Context(address=("a:1", "a:2"), ca="a.pem", region="west", account="ada", cert="c.pem")
    save_context(path, "lab", kept)

    def chosen(**overrides: str) -> Context:
        return choose_context(path, environ={}, overrides=overrides).context

    assert chosen(address="a:2").region == "west"
    assert chosen(address="b:1").region == ""
    assert chosen(address="b:1").cert, "another way to the same one, by the same CA"
    assert chosen(address="b:1", ca="/b.pem").cert == ""
