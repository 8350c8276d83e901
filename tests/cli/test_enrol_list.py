import io
from pathlib import Path

import pytest

from mulligan.cli.bmc_names import Found, check_pattern, names_for, order_of
from mulligan.cli.enrol_list import Row, bmc_key, plain_fingerprint, read_rows, write_csv
from mulligan.errors import InvalidArgument

CSV = """\
name,address,credential,insecure,pin,fingerprint
node-1,https://192.0.2.1,c,yes,,
node-2,https://192.0.2.2,c,,true,
"""
YAML = """\
- {name: node-1, address: "https://192.0.2.1", credential: c, insecure: true}
- name: node-2
  address: https://192.0.2.2
  credential: c
  system: 1
  pin: true
"""


def rows_of(folder: Path, text: str, name: str = "machines.csv") -> list[Row]:
    path = folder / name
    path.write_text(text)
    return read_rows(str(path))


def mistakes_of(folder: Path, text: str, name: str = "machines.csv") -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        rows_of(folder, text, name)
    return [
        f"{one.field.removeprefix(str(folder))} {one.description}"
        for one in caught.value.violations
    ]


def test_csv_and_yaml_say_the_same(tmp_path: Path) -> None:
    first, second = rows_of(tmp_path, CSV)
    assert (first.name, first.insecure, first.pin) == ("node-1", True, False)
    assert (second.address, second.pin) == ("https://192.0.2.2", True)
    third, fourth = rows_of(tmp_path, YAML, "machines.yaml")
    assert (third.name, third.insecure) == ("node-1", True)
    assert (fourth.system, fourth.pin) == ("1", True)
    assert fourth.place.endswith("machines.yaml:2")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV.replace(",", ";"),
        "# made by hand\n\n" + CSV + "\n,,,,,\n",
    ],
)
def test_what_spreadsheets_do_to_csv_does_no_harm(tmp_path: Path, text: str) -> None:
    assert [row.name for row in rows_of(tmp_path, text)] == ["node-1", "node-2"]


def test_every_mistake_is_told_with_its_line_and_column(tmp_path: Path) -> None:
    text = CSV + "-x,ftp://b,,maybe,,zz\nnode-3,https://b,c,,,\nnode-3,https://B/,c,,,\n"
    text += "node-4,192.0.2.4,c,yes,yes,AA:BB\n"
    assert mistakes_of(tmp_path, text) == [
        "/machines.csv:4: credential is missing",
        "/machines.csv:4: insecure 'maybe' is neither true nor false",
        "/machines.csv:7: address '192.0.2.4': write https://host or https://host:port",
        "/machines.csv:7: fingerprint write the certificate's sha256 as 64 hex digits",
        "/machines.csv:7: pin a certificate can be pinned over https only, and where it is checked",
        "/machines.csv:7: pin takes the first certificate; give it or a fingerprint",
        "/machines.csv:6: name 'node-3' stands at " + f"{tmp_path}/machines.csv:5 already",
        "/machines.csv:6: address 'https://B/' stands at " + f"{tmp_path}/machines.csv:5 already",
    ]


def test_mistakes_in_yaml_have_their_lines_too(tmp_path: Path) -> None:
    text = YAML.replace("credential: c\n  system", "credentials: c\n  system")
    assert mistakes_of(tmp_path, text, "m.yaml") == [
        "/m.yaml:4: [1].credentials is no column; there are name, address, credential, system, "
        "parent, insecure, fingerprint, pin, profile",
        "/m.yaml:2: [1].credential is missing",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "has no header line"),
        ("name,address\nx,https://b\n", ":1: credential is missing in the header line"),
        ("name,adress,credential\n", "adress is no column"),
        ("name,name,address,credential\n", ":1: name is given twice"),
        ("name,address,credential\n", "lists no machines"),
        ("name,address,credential\na,https://b,c,d\n", ":2 has 4 cells, and the header 3"),
        ('name,address,credential\na,"https://b,c\n', ":2 is not CSV"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, mistake: str) -> None:
    assert mistake in mistakes_of(tmp_path, text)[0]


def test_so_many_mistakes_are_counted(tmp_path: Path) -> None:
    text = "name,address,credential\n" + "".join(f"n{n},https://b{n},\n" for n in range(150))
    found = mistakes_of(tmp_path, text)
    assert len(found) == 101
    assert found[-1] == "… and 50 more"


def test_a_list_that_was_written_reads_the_same(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, CSV)
    file = io.StringIO()
    write_csv(rows, file)
    again = rows_of(tmp_path, file.getvalue())
    assert again == rows


def test_two_ways_to_write_a_bmc_are_one() -> None:
    assert bmc_key("https://BMC:443/", "a") == bmc_key("https://bmc", "A")
    assert bmc_key("https://bmc:8443", "") != bmc_key("https://bmc", "")


def test_a_fingerprint_is_taken_as_openssl_prints_it() -> None:
    assert plain_fingerprint(":".join(["AB"] * 32)) == "ab" * 32
    assert plain_fingerprint(f"sha256:{'AB' * 32}") == "ab" * 32


FOUND = [
    Found("https://10.0.0.2", "Dell Inc.", "PowerEdge"),
    Found("https://10.0.0.10:8443", "", "", "4c4c"),
    Found("https://[fe80::1]", "HPE"),
]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("node-{host}", ["node-10-0-0-2", "node-10-0-0-10", "node-fe80-1"]),
        ("{vendor}-{n:02}", ["dell-inc-01", "bmc-03", "hpe-04"]),
        ("n{uuid}", ["n10-0-0-2", "n4c4c", "nfe80-1"]),
    ],
)
def test_names_follow_the_pattern_and_pass_over_those_taken(pattern: str, names: list[str]) -> None:
    check_pattern(pattern, "--name")
    assert list(names_for(FOUND, pattern, {"BMC-02"})) == names


@pytest.mark.parametrize(
    "pattern", ["node", "{vendor}", "{host.real}", "{n:>9}", "{host", "{0}", "{host!r:x}"]
)
def test_a_pattern_that_cannot_name_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        check_pattern(pattern, "--name")


def test_addresses_are_sorted_as_numbers() -> None:
    given = ["https://bmc-a", "https://10.0.0.10", "https://[fe80::1]", "https://10.0.0.9"]
    assert sorted(given, key=order_of) == [
        "https://10.0.0.9",
        "https://10.0.0.10",
        "https://[fe80::1]",
        "https://bmc-a",
    ]
