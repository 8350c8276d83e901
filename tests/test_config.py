from pathlib import Path

import msgspec
import pytest

from mulligan.config import Address, Config, ConfigError, insecure_links, load, render
from mulligan.toml_page import locate

PLAIN = "[tls]\nenabled = false\n"
TRIAL = {"MULLIGAN_ETCD_TLS": "false", "MULLIGAN_MEDIA_TLS": "false"}
"""What makes a configuration without any files complete, together with PLAIN."""


def problems(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    """Return what is wrong with a file, without its folder."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, TRIAL | (env or {}))
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def loaded(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(file, TRIAL | (env or {}))


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
    assert page.count("\n") < 90


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
    text = PLAIN + '[postgres]\ntls = false\ndsn = "postgresq://me:hunter2@db/x"\n'
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


def with_files(tmp_path: Path, more: str = "") -> str:
    """Return a file that names what TLS needs, all of which is there."""
    for name in ("ca.pem", "x.pem", "x.key"):
        (tmp_path / name).touch()
    files = 'ca = "ca.pem"\ncert = "x.pem"\nkey = "x.key"\n'
    return f"[tls]\n{files}[etcd]\n{files}{more}"


def refused(tmp_path: Path, text: str) -> list[str]:
    """Return what is wrong with a file in an empty environment."""
    return problems(tmp_path, text, dict.fromkeys(TRIAL, "true"))


def remote(query: str = "", more: str = "") -> str:
    return f'[postgres]\n{more}dsn = "postgresql://db.example/x{query}"\n'


def test_links_without_tls_are_named(tmp_path: Path) -> None:
    config = loaded(tmp_path, PLAIN + remote(more="tls = false\n"))
    named = insecure_links(config)
    assert [link.split()[0] for link in named] == ["services", "etcd", "postgres", "images,"]


def test_every_link_speaks_tls_unless_its_own_key_says_otherwise(tmp_path: Path) -> None:
    def config(more: str = "") -> Config:
        return loaded(tmp_path, with_files(tmp_path, more), dict.fromkeys(TRIAL, "true"))

    assert insecure_links(config()) == []
    assert insecure_links(config(remote("?sslmode=verify-full"))) == []
    assert insecure_links(config(remote("?sslmode=require", "tls = false\n"))) == [
        "postgres (postgres.tls = false)"
    ]


def test_a_link_that_lacks_what_tls_needs_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    (etcd, *_) = refused(tmp_path, with_files(tmp_path).replace("[etcd]\nca", "[etcd]\n#"))
    assert etcd.startswith("config.toml:5: etcd.ca: missing, and TLS needs it; run `mulligan init`")
    assert "set etcd.tls = false" in etcd
    media = problems(tmp_path, PLAIN, {"MULLIGAN_MEDIA_TLS": "true"})
    assert [line.split(": ")[1] for line in media] == ["tls.ca", "tls.cert", "tls.key"]
    assert "media.tls = false" in media[0]


@pytest.mark.parametrize("query", ["", "?sslmode=require", "?sslmode=prefer", "?host=/run,db"])
def test_postgres_over_tcp_is_refused_without_verified_tls(tmp_path: Path, query: str) -> None:
    (line,) = refused(tmp_path, with_files(tmp_path, remote(query)))
    assert line.startswith("config.toml:10: postgres.dsn: it leads over TCP without verified TLS")
    assert "sslmode=verify-full" in line
    assert "postgres.tls = false" in line


def test_a_missing_file_of_the_postgres_url_is_told(tmp_path: Path) -> None:
    query = "?sslmode=verify-full&sslrootcert=./none.pem"
    (line,) = refused(tmp_path, with_files(tmp_path, remote(query)))
    assert "postgres.dsn: no file none.pem for sslrootcert" in line


def test_bmcs_are_not_sent_to_plain_http_by_a_server_that_speaks_tls(tmp_path: Path) -> None:
    text = with_files(tmp_path, '[media]\nbase_url = "http://media.example:7008"\n')
    (line,) = refused(tmp_path, text)
    assert line.startswith("config.toml:10: media.base_url: it is plain HTTP")
    assert loaded(tmp_path, text.replace("[media]", "[media]\ntls = false")).media.base_url


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
