"""What ``mulligan help TOPIC`` tells: pages that belong to no one command."""

TOPICS: dict[str, tuple[str, str]] = {
    "output": (
        "How things are printed: tables, JSON, YAML, names.",
        """
-o table   for people: on a terminal as wide as that, long cells cut with …, times
           told from now, states in colour (NO_COLOR=1: none). In a pipe: whole,
           with times in UTC, and plain.
-o wide    the same with more columns, nothing cut, and times in UTC.
-o json    the field names of the .proto files, always all of them; enums are
           lower-case words, times ISO 8601 in UTC, spans in seconds, numbers numbers.
-o yaml    the same as YAML.
-o name    a name a line, for `-` of another command.
-q         of what is made, the UUID and nothing else.
--watch    goes on: a terminal is refreshed in place; a pipe gets the rows that
           changed, as lines of JSON with -o json. Ctrl-C ends it.
Notes and errors go to standard error, data to standard output.
""",
    ),
    "selection": (
        "How several objects are named: names, UUIDs, `-`, and selections of machines.",
        """
Names and UUIDs are accepted everywhere. `-` in place of names reads them from
standard input. Verbs of `machine` select machines as well: --state, --under,
--name-like, --manufacturer, --model, --health, --claim, or --all.

  mulligan machine list --state manageable -o name | mulligan machine provide -
  mulligan machine retry --under rack-7 --state failed --dry-run

What is destructive asks first where it is for several objects, and on a terminal
before a single one is deleted; --yes answers. --dry-run shows what would be done
and does nothing.
""",
    ),
    "times": (
        "How times, spans and amounts are written.",
        """
Times:    now, +2h, -2h, or ISO 8601, which is UTC unless it has an offset.
Spans:    90m, 4h, 1d12h, 2w.
Amounts:  4, 64GiB, 10Gbit/s; Ki, Mi … are powers of 1024, k, M … of 1000.
--at T    what only reads is shown as of then: 1234 (an entry), -2h, 2027-01-31T08:00.
""",
    ),
    "contexts": (
        "Which control plane, and as whom.",
        """
A context has the addresses of a control plane, its CA, an account and a project.
`mulligan up`, `mulligan init` and `mulligan login` make one; they are kept in
~/.config/mulligan/config.toml, which only you can read.

  mulligan context list             which there are; * is the current one
  mulligan context use lab          make one the current one; - is the previous
  mulligan context add|edit|rename|delete NAME
  mulligan --context lab …          this command only; or MULLIGAN_CONTEXT=lab

What is given counts in this order: option, environment, context.
""",
    ),
    "environment": (
        "Variables of the environment.",
        """
MULLIGAN_CONTEXT      --context NAME       the context to use
MULLIGAN_ADDRESS      --address HOST:PORT  any service; several with commas
MULLIGAN_PROJECT      --project NAME       the project to act in
MULLIGAN_OUTPUT       -o, --output FORM    table, wide, json, yaml or name
MULLIGAN_STALE        --stale              1: accept answers older than what was written
MULLIGAN_AT           --at T               for what only reads: as of an entry or a time
MULLIGAN_TRACE        --trace              1: trace the command, print the trace's id
MULLIGAN_VERBOSE      -v, --verbose        1: tell each call, retry and reason
MULLIGAN_CA           CA of the control plane, in PEM
MULLIGAN_ACCOUNT      the account to log in as
MULLIGAN_SECRET       its secret
MULLIGAN_CERT         its certificate, in PEM, with MULLIGAN_KEY
MULLIGAN_CONFIG       file of the contexts
MULLIGAN_PATIENCE     seconds for which a call waits out restarts: 15; with --at 60
MULLIGAN_DEBUG        1: print the trace of an error
MULLIGAN_TRACE_ENDPOINT  URL of a collector that gets the command's spans (OTLP)
MULLIGAN_TRACE_SAMPLE    share of commands whose spans are kept without --trace, 0 to 1
MULLIGAN_STATE        --state DIR          folder of a region, for init and up
NO_COLOR              any value: no colours
""",
    ),
    "exit-codes": (
        "What a command's exit code tells.",
        """
  0  done
  1  another error
  2  wrong usage, or an invalid argument
  3  not found
  4  not logged in, or not permitted
  5  it exists already, or somebody else changed it meanwhile
  6  not in a state that allows this, or not confirmed
  7  no capacity, quota or space left
  8  a service is away, or the time ran out (of --timeout, too)
130  stopped by Ctrl-C
141  the reader of the output went away

With several objects each error is printed and the code is that of the first; with
machines that were selected, or a list that was enrolled, it is 1.
""",
    ),
}
"""Each topic with a line about it and its text."""
