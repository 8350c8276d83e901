from pathlib import Path

import msgspec
import pytest

from mulligan.config import Address, Config, ConfigError, TlsConfig, insecure_links, load, render
from mulligan.toml_page import locate

PLAIN = "[tls]\nenabled = false\n"


def problems(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    """Return what is wrong with a file, without its folder."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, env or {})
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def loaded(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(file, env or {})


def test_what_is_rendered_is_read_back_the_same(tmp_path: Path) -> None:
    first = loaded(tmp_path, PLAIN + "[listen]\niam = '0.0.0.0:9'\n[limits]\ndeadline_s = 2.5\n")
    page = render(first, tmp_path)
    assert str(tmp_path) not in page
    assert loaded(tmp_path, page) == first
    assert render(loaded(tmp_path, page), tmp_path) == page


def test_the_page_shows_every_key_and_fits_on_a_page() -> None:
    page = render(Config())
    for section in msgspec.structs.fields(Config):
        names = getattr(section.default, "__struct_fields__", (section.name,))
        assert all(f"\n{name} = " in page for name in names)
    assert page.count("\n") < 72


def test_an_unknown_key_is_refused_with_its_line_and_the_key_that_was_meant(
    tmp_path: Path,
) -> None:
    text = PLAIN + "\n[limits]\npage_size_max = 3\npage_sise_max = 4\n"
    assert problems(tmp_path, text) == [
        "config.toml:6: limits.page_sise_max: unknown key; did you mean page_size_max?"
    ]


def test_all_problems_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = 'regoin = "x"\n[log]\nlevel = "loud"\n[limits]\ndeadline_s = "1"\npage_size_max = 0\n'
    found = problems(tmp_path, text)
    assert [line.split(": ")[0] for line in sorted(found)] == [
        f"config.toml:{n}" for n in (1, 3, 5, 6)
    ]
    assert 'write one of "debug", "info", "warning", "error"' in "\n".join(found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[listen]\niam = "7001"', "2: listen.iam: expected host:port"),
        ('[listen]\niam = "h:70000"', "2: listen.iam: expected host:port"),
        ("[listen]\niam = 7001", "2: listen.iam: expected text, got int"),
        ("[tls]\nenabled = 1", "2: tls.enabled: Expected bool, got int"),
        ("[etcd]\nendpoints = []", "2: etcd.endpoints: Expected array of length >= 1"),
        ('[etcd]\nendpoints = [\n"a:1",\n"b"]', "2: etcd.endpoints: expected host:port"),
        ('[postgres]\ndsn = "mysql://x"', "2: postgres.dsn: expected a URL"),
        ('region = "East 1"', "1: region: Expected str of another form"),
        ("limits = 3", "1: limits: expected a table"),
        ("region = ", "1: syntax: Invalid value"),
        ("a = 1\na = 2", "2: syntax: Cannot overwrite a value"),
        ("[tls]\n", "1: tls.ca: missing, and TLS needs it"),
        (PLAIN + '[etcd]\nca = "no.pem"', "4: etcd.ca: no file"),
        (PLAIN + '[bmc]\nca = "no.pem"', "4: bmc.ca: no file"),
        (PLAIN + '[listen]\niam = "h:1"\nmeta = "h:1"', "5: listen.meta: h:1 is taken by listen"),
    ],
)
def test_a_bad_value_is_refused_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    assert any(p.startswith(f"config.toml:{complaint}") for p in problems(tmp_path, text))


def test_a_password_is_never_repeated(tmp_path: Path) -> None:
    text = PLAIN + '[postgres]\ndsn = "postgresq://me:hunter2@db/x"\n'
    assert "hunter2" not in "".join(problems(tmp_path, text))
    config = loaded(tmp_path, text.replace("postgresq:", "postgresql:"))
    assert "hunter2" not in repr(config)
    assert "hunter2" in config.postgres.dsn


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    env = {
        "MULLIGAN_REGION": "west",
        "MULLIGAN_ETCD_ENDPOINTS": "a:1, b:2",
        "MULLIGAN_LIMITS_PAGE_SIZE_MAX": "7",
        "MULLIGAN_TLS_ENABLED": "false",
        "MULLIGAN_SECRETS_KEY": "not a key of the file",
        "MULLIGAN_TOKEN": "of no concern here",
    }
    config = loaded(tmp_path, 'region = "east"', env)
    assert config.region == "west"
    assert config.etcd.endpoints == (Address("a:1"), Address("b:2"))
    assert config.limits.page_size_max == 7
    assert not config.tls.enabled


def test_a_bad_variable_is_named_instead_of_a_line(tmp_path: Path) -> None:
    env = {"MULLIGAN_LOG_LEVEL": "loud", "MULLIGAN_LOG_LEVLE": "info"}
    assert problems(tmp_path, PLAIN, env) == [
        "$MULLIGAN_LOG_LEVLE: log.levle: unknown key; did you mean level?",
        "$MULLIGAN_LOG_LEVEL: log.level: Invalid enum value 'loud'; "
        'write one of "debug", "info", "warning", "error"',
    ]


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, PLAIN + '[media]\nimage_dir = "img"\ncache_dir = "/abs"\n')
    assert config.media.image_dir == tmp_path / "img"
    assert config.media.cache_dir == Path("/abs")
    assert config.state_dir == tmp_path
    assert config.postgres.dsn.endswith(f"?host={tmp_path}/postgres")


def test_a_missing_file_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file or directory; .*mulligan init"):
        load(tmp_path / "none.toml", {})


def test_links_without_tls_are_named(tmp_path: Path) -> None:
    config = loaded(tmp_path, PLAIN + '[postgres]\ndsn = "postgresql://db.example/x"\n')
    assert [link.split()[0] for link in insecure_links(config)] == ["services", "etcd", "postgres"]
    files = TlsConfig(ca=Path("/ca"), cert=Path("/c"), key=Path("/k"))
    safe = "postgresql://db.example/x?sslmode=verify-full"
    config = loaded(tmp_path, f'{PLAIN}[postgres]\ndsn = "{safe}"\n')
    etcd = msgspec.structs.replace(config.etcd, ca=files.ca, cert=files.cert, key=files.key)
    assert insecure_links(msgspec.structs.replace(config, tls=files, etcd=etcd)) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[a]\nb = 1", 2),
        ("a.b = 1", 1),
        ("x = 1\na = { b = 1 }", 2),
        ('x = """\n[a]\nb = 2\n"""\n[a]\n"b" = 1', 6),
        ("[z]\nb = 1\n[a] # here\nc = 1", 3),
        ("# [a]\n[a.b]\nc = 1", 2),
    ],
)
def test_a_key_is_found_however_it_is_written(text: str, line: int) -> None:
    assert locate(text, "a", "b") == line


def test_an_ipv6_address_loses_its_brackets() -> None:
    assert (Address("[::1]:80").host, Address("[::1]:80").port) == ("::1", 80)
