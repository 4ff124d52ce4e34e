//! The output of `-p` and `-P` reads back.

use std::fmt::Write;

use haproxystats_config::{
    GROUP_SECTIONS, Kind, Program, known_options, print_defaults, print_in_force,
};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

use crate::{Files, load_text};

const DEFAULTS_OF_PULL: &str = "\
[DEFAULT]
# no effect: every section has a default of its own; serves references such as ${DEFAULT:interval}
interval = 2
loglevel = info
# no effect: every section has a default of its own; serves references such as ${DEFAULT:retries}
retries = 2
# no effect: every section has a default of its own; serves references such as ${DEFAULT:timeout}
timeout = 1

[pull]
allow-partial = false
answer-limit = 268435456
# no effect: an answer is read in pieces of up to 64 KiB
buffer-limit = 6291456
dst-dir = /var/lib/haproxystats/incoming
interval = 0.5
old-workers = true
pull-interval = 10
pull-timeout = 2
queue-size = 360
retries = 1
servers-interval = 1
sync = true
timeout = 0.1
tmp-dst-dir = /var/lib/haproxystats/incoming.tmp
workers = 8

[uwsgi]
allow-partial = true

[zope]
allow-partial = true
database = main
sampling-interval = 300

";

const DEFAULTS_OF_PROCESS: &str = "\
[DEFAULT]
# no effect: every section has a default of its own; serves references such as ${DEFAULT:interval}
interval = 2
loglevel = info
# no effect: every section has a default of its own; serves references such as ${DEFAULT:retries}
retries = 2
# no effect: every section has a default of its own; serves references such as ${DEFAULT:timeout}
timeout = 1

[paths]
base-dir = /var/lib/haproxystats

[process]
aggr-server-metrics = false
calculate-percentages = false
failed-dir = ${paths:base-dir}/failed
failed-limit = 100
file-limit = 268435456
hide-maint = false
job-timeout = 300
liveness-check-interval = 10
outbox-dir = ${paths:base-dir}/outbox
partial-input = accept
per-process-metrics = false
server-states = false
src-dir = /var/lib/haproxystats/incoming
workers = 4

[graphite]
backoff = 2
cluster = failover
confirm = close
confirm-timeout = 60
connect-timeout = 1
delay = 10
enabled = true
fqdn = true
groups = true
interval = 1.8
max-line = 16384
namespace = loadbalancers
outbox-size = 268435456
outbox-sync = true
port = 3002
prefix-hostname = true
replay-rate = 50000
retries = 3
server = 127.0.0.1
tags = false
tls = false
write-timeout = 1

[influxdb]
api = auto
backoff = 2
batch-points = 5000
connect-timeout = 1
create-database = true
delay = 10
enabled = true
groups = true
gzip = auto
interval = 1.8
keep-field-names = false
outbox-size = 268435456
outbox-sync = true
replay-rate = 50000
retries = 3
timeout = 5
write-timeout = 1

[kafka]
backoff = 2
brokers = 127.0.0.1:9092
compression = zstd
confirm-timeout = 60
connect-timeout = 1
delay = 10
enabled = true
format = influx
fqdn = true
interval = 1.8
key = host
lines = many
message-size = 262144
namespace = loadbalancers
outbox-size = 268435456
outbox-sync = true
prefix-hostname = true
replay-rate = 50000
retries = 3
sasl-mechanism = scram-sha-512
security-protocol = plaintext
topic = haproxystats
write-timeout = 1

[local-store]
backoff = 2
delay = 10
dir = /var/lib/haproxystats/local-store
enabled = true
interval = 1.8
outbox-size = 268435456
outbox-sync = true
replay-rate = 50000
retries = 3

";

/// What an InfluxDB must have.
const INFLUXDB: &str = "url = https://influx\ndatabase = d\n";
const KAFKA: &str = "security-protocol = sasl_ssl\nsasl-username = u\nsasl-password-file = /p\n\
                     librdkafka.linger.ms = ${x:two}\n";
/// Options of a Kafka that go with some others alone.
const KAFKA_FIXED: [&str; 6] = [
    "security-protocol",
    "sasl-username",
    "sasl-password-file",
    "ca-file",
    "certificate",
    "certificate-key",
];
/// Options of an InfluxDB that go with some others alone.
const INFLUXDB_FIXED: [&str; 11] = [
    "url",
    "database",
    "api",
    "username",
    "password-file",
    "retention-policy",
    "org",
    "bucket",
    "token-file",
    "certificate",
    "key",
];

#[test]
fn the_defaults() {
    assert_eq!(print_defaults(Program::Pull), DEFAULTS_OF_PULL);
    assert_eq!(print_defaults(Program::Process), DEFAULTS_OF_PROCESS);
}

#[test]
fn the_defaults_read_back_as_the_defaults() {
    let printed = print_defaults(Program::Process);
    // An InfluxDB has no address by default.
    let influxdb = format!("[influxdb]\n{INFLUXDB}");
    let printed = load_text(&printed.replace("[influxdb]\n", &influxdb));
    // The printed sections turn the other receivers on.
    let mut process = printed.process;
    process.receivers.retain(|receiver| receiver.name.kind() == "graphite");
    assert_eq!(process, load_text("").process);
}

#[test]
fn the_values_in_force() {
    let config = load_text(
        "[DEFAULT]\nloglevel = debug\nroot = /srv\nlate = ${x}$$\n\
         [pull]\nservers =\n  unix:///a,\n  tcp://h:1\ndst-dir = ${root}/in\n\
         [my]\nx = 1\ny = ${late}\n\
         [graphite]\ngroup-namespace = g\ngroup-namespace-double-writes = no\n\
         [server-groups]\nb = ^b$$\na = a\n[local-store]\n",
    );
    let comment = |option| {
        format!(
            "# no effect: every section has a default of its own; serves references such as \
             ${{DEFAULT:{option}}}\n"
        )
    };
    let default = format!(
        "[DEFAULT]\n{}interval = 2\nloglevel = debug\n{}retries = 2\nroot = /srv\n\
         {}timeout = 1\n\n",
        comment("interval"),
        comment("retries"),
        comment("timeout")
    );
    let pull = "[pull]\nallow-partial = false\nanswer-limit = 268435456\n\
                # no effect: an answer is read in pieces of up to 64 KiB\nbuffer-limit = 6291456\n\
                dst-dir = /srv/in\ninterval = 0.5\nloglevel = debug\n\
                old-workers = true\npull-interval = 10\n\
                pull-timeout = 2\nqueue-size = 360\nretries = 1\n\
                servers = unix:///a,\n\ttcp://h:1\nservers-interval = 1\n\
                sync = true\ntimeout = 0.1\n\
                tmp-dst-dir = /var/lib/haproxystats/incoming.tmp\nworkers = 8\n\n";
    assert_eq!(print_in_force(&config.document, Program::Pull), format!("{default}{pull}"));

    let process = print_in_force(&config.document, Program::Process);
    assert!(process.starts_with(&default), "{process}");
    let end = "[local-store]\nbackoff = 2\ndelay = 10\ndir = /var/lib/haproxystats/local-store\n\
               enabled = true\ninterval = 1.8\noutbox-size = 268435456\noutbox-sync = true\n\
               replay-rate = 50000\nretries = 3\n\n\
               [server-groups]\nb = ^b$$\na = a\n\n[my]\nx = 1\ny = 1$$\n\n";
    assert!(process.ends_with(end), "{process}");
    assert!(process.contains("\n[graphite]\nbackoff = 2\n"), "{process}");
    assert!(
        process.contains("\npartial-input = accept\nper-process-metrics = false\n"),
        "{process}"
    );
    assert!(!process.contains("[pull]"), "{process}");
}

/// The nagios check greps this line and takes its number.
#[test]
fn exactly_one_line_of_process_begins_with_workers() {
    for text in ["", "[process]\nworkers = 7\n[pull]\nworkers = 3\n"] {
        let printed = print_in_force(&load_text(text).document, Program::Process);
        let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("workers = ")).collect();
        assert_eq!(lines, [if text.is_empty() { "workers = 4" } else { "workers = 7" }]);
    }
}

#[test]
fn a_section_that_turns_something_on_is_printed_only_where_the_file_has_it() {
    let printed = print_in_force(&load_text("").document, Program::Process);
    assert!(!printed.contains("local-store") && !printed.contains("-groups"), "{printed}");
}

/// Values that an option accepts.
fn written(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Word(words) => words.to_vec(),
        Kind::Boolean => vec!["yes", "off", "${DEFAULT:my yes}"],
        Kind::Whole(bounds) if bounds.least > 12 => vec!["4096", "40${x:two}4"],
        Kind::Whole(_) => vec!["1", "12", "${x:two}"],
        Kind::Retries => vec!["-1", "0", "3"],
        Kind::Pause | Kind::Limit | Kind::Factor => vec!["1", "2.5", "${x:two}.5"],
        Kind::Path => vec!["/a b", "rel", "/$$ ${x:two}", "${my}/x\n ${x:lines}", "'/q'", "#hash"],
        Kind::Applications => {
            vec!["/a/*.stats", "a=http://h:1,\n  unix:///${x:two}", "b-1=tcp://[::1]:${x:two}"]
        }
        Kind::Instances => {
            vec!["a/i1=tcp://h:1", "a.b/i=tcp://[::1]:${x:two},\n  a/i2=unix:///${x:two}"]
        }
        Kind::Folders => vec!["/a/*", "/a b,\n  /srv/${x:two}/*"],
        Kind::Name => vec!["main", "-", "a.${x:two}"],
        Kind::Listen => vec!["127.0.0.1:1", "[::1]:${x:two}", "unix:///a b/${x:two}"],
        Kind::Servers => {
            vec!["unix:///a", "unix:///${x:two},\n  tcp://h:1", "tcp://[::1]:${x:two}"]
        }
        // No UNIX socket, because it does not go with every `confirm`.
        Kind::ServerList => vec!["h", "::1, a:2", "h:${x:two},\n  [::1]:4, 10.0.0.${x:two}"],
        Kind::Metrics => vec!["all", "bin stot", "bin\n\n  # x\n  scur"],
        Kind::HostName => vec!["h", "lb${x:two}.example.com"],
        Kind::Host => vec!["h", "::1", "10.0.0.${x:two}"],
        Kind::Prefix => vec!["a", "a.b", "$$.${x:two}"],
        Kind::Url => vec!["http://a", "https://[::1]:8086/x$$"],
        Kind::Text => vec!["a b", "$$${x:two}"],
        Kind::Brokers => vec!["k1", "k1:909${x:two},\n  [::1]:9092"],
        Kind::Topic => vec!["t", "a.${x:two}"],
        Kind::Tags => vec!["dc=a", "dc=${x:two},\n  zone=b c"],
    }
}

const GRAPHITE_TLS: [&str; 5] = ["tls", "ca-file", "certificate", "key", "server-name"];

/// A file without a fault: some options with some of their values, groups, and options of the user.
fn file() -> impl Strategy<Value = String> {
    let option = |known: &'static haproxystats_config::KnownOption| {
        let values = written(known.kind);
        prop_oneof![
            Just(None),
            (0..values.len()).prop_map(move |index| Some((known, values[index])))
        ]
    };
    let options: Vec<_> = known_options()
        .iter()
        .filter(|known| !known.name.ends_with("-dir") && !known.name.starts_with("group-"))
        // Options of TLS do not go with every `confirm`, and not without `tls`.
        .filter(|known| known.section != "graphite" || !GRAPHITE_TLS.contains(&known.name))
        .filter(|known| known.section != "influxdb" || !INFLUXDB_FIXED.contains(&known.name))
        .filter(|known| known.section != "kafka" || !KAFKA_FIXED.contains(&known.name))
        .map(option)
        .collect();
    let pattern = "[a-z\\\\d.^+]{1,5}(\\$\\$)?(\n  [a-z#;]{1,3})?";
    let groups = proptest::option::of(proptest::collection::vec(pattern, 0..3));
    (options, groups).prop_map(|(options, groups)| {
        let mut text =
            "[x]\ntwo = 2\nlines = a\n  b\nhash = #\n[DEFAULT]\nmy = /my\nmy yes = yes\n"
                .to_owned();
        let mut current = "DEFAULT";
        let mut group_options = "group-namespace = g\ngroup-namespace-double-writes = no\n";
        if groups.is_none() {
            group_options = "";
        }
        for (known, value) in options.into_iter().flatten() {
            // Without Graphite there may be no receiver, because local-store comes by chance.
            if known.name == "enabled" || (known.section == "graphite" && current == "local-store")
            {
                continue;
            }
            if known.section != current {
                current = known.section;
                writeln!(text, "[{current}]").unwrap();
                if current == "influxdb" {
                    text.push_str(INFLUXDB);
                }
                if current == "kafka" {
                    text.push_str(KAFKA);
                }
                if current == "graphite" {
                    text.push_str(std::mem::take(&mut group_options));
                }
            }
            writeln!(text, "{} = {value}", known.name).unwrap();
        }
        if !group_options.is_empty() {
            write!(text, "[graphite]\n{group_options}").unwrap();
        }
        for (section, pattern) in GROUP_SECTIONS.iter().zip(groups.into_iter().flatten()) {
            let name = format!("name = {pattern}\n ${{x:hash}}x\n");
            write!(text, "[{section}]\n{name}first = {pattern}\n").unwrap();
        }
        if text.contains("[graphite]\ngroup-namespace") && !text.contains("-groups]") {
            text.push_str("[server-groups]\n");
        }
        text
    })
}

proptest! {
    /// The printed configuration has the same values when it is read, and prints the same again.
    #[test]
    fn print_reads_back(text in file()) {
        let files = Files::new(&[("c.conf", &text)]);
        // A pattern may be invalid by chance; then there is nothing to print.
        if let Ok(config) = files.load() {
            let printed = print_in_force(&config.document, Program::Process);
            let again = load_text(&printed);
            assert_eq!(again.process, config.process, "{text}\nprinted as\n{printed}");
            assert_eq!(print_in_force(&again.document, Program::Process), printed);

            let printed = print_in_force(&config.document, Program::Pull);
            let again = load_text(&printed);
            assert_eq!(again.pull, config.pull, "{text}\nprinted as\n{printed}");
            assert_eq!(print_in_force(&again.document, Program::Pull), printed);
        }
    }
}

/// An option that we do not know may be a secret that was written into the wrong place.
#[test]
fn a_value_that_may_be_a_secret_is_not_printed() {
    let text = "[DEFAULT]\npasswd = hidden\n[graphite]\ngroup-namespace = g\n\
                group-namespace-double-writes = false\npassword = hidden\n[influxdb]\n\
                url = http://h\nbucket = b\ntoken = hidden\n key = hidden\ntoken-file = /shown\n\
                [other]\nAPI_KEY = hidden\nsasl-password = hidden\n hidden\n\
                [frontend-groups]\ntoken = shown\n";
    let config = load_text(text);
    let printed = print_in_force(&config.document, Program::Process);
    assert!(!printed.contains("hidden"), "{printed}");
    for line in ["token-file = /shown", "token = shown"] {
        assert!(printed.lines().any(|printed| printed == line), "{printed}");
    }
    let comment = "# token is not printed: it may be a secret, and none belongs here";
    assert!(printed.lines().any(|printed| printed == comment), "{printed}");
    load_text(&printed);
}
