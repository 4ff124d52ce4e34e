//! Values and their types.

use std::path::{Path, PathBuf};
use std::time::Duration;

use haproxystats_config::{
    Address, Confirm, GroupRule, GroupRules, Groups, HostPart, Listen, LocalStore, Naming,
    PartialInput, ReceiverKind, Retries, Selection,
};

use crate::{faults_of, graphites, load_text};

#[test]
fn an_unknown_metric_is_a_warning_with_the_nearest_known_one() {
    let config =
        load_text("[process]\nserver-metrics = bin stto\nbackend-metrics = all -wibble -bin\n");
    let Selection::Named(names) = &config.process.tables.server_metrics else { panic!() };
    assert_eq!(names, &["bin", "stto"]);
    let except = vec!["wibble".to_owned(), "bin".to_owned()];
    assert_eq!(config.process.tables.backend_metrics, Selection::All { except });
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let has = |text: &str| warnings.iter().any(|warning| warning.contains(text));
    assert!(
        has(":2: [process] server-metrics: \"stto\" is no metric of any HAProxy"),
        "{warnings:?}"
    );
    assert!(has("did you mean stot? It is read if HAProxy has it"), "{warnings:?}");
    assert!(has("\"wibble\"") && has("check its spelling. It"), "{warnings:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn every_word_for_yes_and_no() {
    for (word, expected) in [
        ("1", true),
        ("yes", true),
        ("True", true),
        ("ON", true),
        ("0", false),
        ("no", false),
        ("FALSE", false),
        ("off", false),
    ] {
        let config = load_text(&format!("[process]\naggr-server-metrics = {word}\n"));
        assert_eq!(config.process.tables.aggr_server_metrics, expected, "{word}");
    }
}

#[test]
fn servers_of_every_form() {
    let config = load_text(
        "[pull]\nservers = unix:///run/a.sock,\n  tcp://LB1.example:7000,\n\
         \t# not this one\n  tcp://[FE80::1%eth0]:1, tcp://10.0.0.1:65535\n",
    );
    let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
    assert_eq!(
        config.pull.servers,
        [
            Address::Unix(PathBuf::from("/run/a.sock")),
            tcp("lb1.example", 7000),
            tcp("fe80::1%eth0", 1),
            tcp("10.0.0.1", 65_535),
        ]
    );
}

#[test]
fn numbers_at_their_ends() {
    let config = load_text(
        "[pull]\nretries = -1\ntimeout = .001\ninterval = 0\npull-timeout = 0\npull-interval = 1\n\
         buffer-limit = 1\nworkers = 512\nqueue-size = 1\n\
         [process]\nfailed-limit = 1\nmax-servers-per-backend = 1\n\
         [graphite]\nport = 65535\nbackoff = 1\nretries = 0\ndelay = 1e9\nserver = [::1]\n\
         outbox-size = 1\nqueue-size = 1\nreplay-rate = 0\n",
    );
    let pull = config.pull;
    assert_eq!(pull.retries, Retries::Forever);
    assert_eq!(pull.timeout, Duration::from_millis(1));
    assert_eq!(pull.interval, Duration::ZERO);
    assert_eq!(pull.pull_timeout, None);
    assert_eq!(pull.pull_interval, Duration::from_secs(1));
    assert_eq!((pull.workers, pull.queue_size), (512, 1));
    assert_eq!(config.process.failed_limit, 1);
    assert_eq!(config.process.tables.max_servers_per_backend, Some(1));
    let receiver = &config.process.receivers[0];
    let (circuit, outbox) = (&receiver.circuit, &receiver.outbox);
    assert_eq!((outbox.size_bytes, outbox.metrics, outbox.replay_rate), (1, Some(1), 0));
    assert_eq!((circuit.retries, circuit.backoff), (Retries::Times(0), 1.0));
    assert_eq!(circuit.delay, Duration::from_secs(1_000_000_000));
    let graphite = graphites(&config.process)[0];
    assert_eq!(graphite.servers, [Address::Tcp { host: "::1".to_owned(), port: 65_535 }]);
}

#[test]
fn a_short_pull_timeout_is_taken_as_written() {
    let config = load_text("[pull]\npull-timeout = 0.5\n");
    assert_eq!(config.pull.pull_timeout, Some(Duration::from_millis(500)));
}

#[test]
fn metrics_named_twice_count_once_and_all_is_all() {
    let config = load_text(
        "[process]\nfrontend-metrics = stot bin\n  stot\nbackend-metrics = all\n\
         server-metrics = bin all\n",
    );
    let tables = config.process.tables;
    assert_eq!(
        tables.frontend_metrics,
        Selection::Named(vec!["stot".to_owned(), "bin".to_owned()])
    );
    assert_eq!(tables.backend_metrics, Selection::All { except: Vec::new() });
    assert_eq!(tables.server_metrics, Selection::All { except: Vec::new() });
}

#[test]
fn groups_stand_in_file_order_and_inherit_nothing() {
    let config = load_text(
        "[DEFAULT]\nsite = ams\n[graphite]\ngroup-namespace = flavor\n\
         group-namespace-double-writes = true\n\
         [frontend-groups]\nZed = ^foo-\\d+$$\nabc = ${site}(?!x)\n[server-groups]\n",
    );
    let rule = |name: &str, pattern: &str| GroupRule { name: name.into(), pattern: pattern.into() };
    assert_eq!(
        graphites(&config.process)[0].naming.groups,
        Some(Groups {
            namespace: "flavor".to_owned(),
            double_writes: true,
            rules: GroupRules {
                frontend: vec![rule("zed", "^foo-\\d+$"), rule("abc", "ams(?!x)")],
                backend: vec![],
                server: vec![],
            },
        })
    );
}

#[test]
fn the_host_part_follows_two_options() {
    for (prefix, fqdn, expected) in [
        ("true", "true", HostPart::Full),
        ("true", "false", HostPart::Short),
        ("false", "true", HostPart::None),
        ("false", "false", HostPart::None),
    ] {
        let text = format!("[graphite]\nprefix-hostname = {prefix}\nfqdn = {fqdn}\n");
        assert_eq!(graphites(&load_text(&text).process)[0].naming.host, expected);
    }
}

#[test]
fn the_section_local_store_turns_it_on() {
    let config = load_text("[graphite]\nenabled = false\n[local-store]\n");
    let [receiver] = config.process.receivers.try_into().unwrap();
    let dir = Path::new("/var/lib/haproxystats/local-store").to_owned();
    let naming = Naming {
        namespace: "loadbalancers".to_owned(),
        host: HostPart::Full,
        groups: None,
        tags: false,
        max_line: None,
    };
    let expected = LocalStore { dir, retention: None, naming };
    assert_eq!(receiver.kind, ReceiverKind::LocalStore(expected));
}

#[test]
fn words_are_read_in_any_case() {
    let config = load_text("[process]\npartial-input = Refuse\n[graphite]\nconfirm = TCP\n");
    assert_eq!(config.process.partial_input, PartialInput::Refuse);
    assert_eq!(graphites(&config.process)[0].confirm, Confirm::Tcp);
}

#[test]
fn a_host_name_is_unset_or_a_name() {
    assert_eq!(load_text("").pull.host_name, None);
    for name in ["lb1", "LB_1.example.com", &"x".repeat(255)] {
        let text = format!("[pull]\nhost-name = {name}\n");
        assert_eq!(load_text(&text).pull.host_name.as_deref(), Some(name));
    }
    let longer = "x".repeat(256);
    for name in ["", "a b", "a/b", "a:b", "a\u{7f}", &longer] {
        let faults = faults_of(&format!("[pull]\nhost-name = {name}\n"));
        let right = "is no name of a host; write one of letters, digits, dots, - and _, of at \
                     most 255 bytes, such as lb1.example.com";
        assert!(faults.len() == 1 && faults[0].ends_with(right), "{faults:?}");
    }
}

#[test]
fn a_monitor_listens_on_an_address_or_a_socket() {
    let read = |value: &str| {
        let config = load_text(&format!("[pull]\nmonitor-listen = {value}\n"));
        assert_eq!(config.process.monitor_listen, None);
        config.pull.monitor_listen.unwrap()
    };
    assert_eq!(read("127.0.0.1:8161"), Listen::Tcp(([127, 0, 0, 1], 8161).into()));
    assert_eq!(read("localhost:8161"), Listen::Tcp(([127, 0, 0, 1], 8161).into()));
    assert_eq!(read("[::1]:8161"), Listen::Tcp("[::1]:8161".parse().unwrap()));
    assert_eq!(read("unix:///run/a.sock"), Listen::Unix("/run/a.sock".into()));
    for value in
        ["8161", "lb1:8161", "::1:8161", "127.0.0.1:0", "unix://run/x", "tcp://127.0.0.1:1"]
    {
        let text = format!("[process]\nmonitor-listen = {value}\n");
        let faults = faults_of(&text).concat();
        assert!(faults.contains("[process] monitor-listen"), "{value}: {faults}");
    }
}
