//! The defaults, and the order of precedence between values.

use std::path::PathBuf;
use std::time::Duration;

use haproxystats_config::{
    Address, Circuit, Cluster, Confirm, Graphite, HostPart, LogLevel, Naming, Outbox, PartialInput,
    Process, Pull, Receiver, ReceiverKind, Retries, Selection, Tables, Uwsgi, Zope,
};

use crate::{Files, load_text};

#[test]
fn an_empty_file_means_defaults() {
    let config = load_text("");
    assert_eq!(config.warnings, []);
    assert_eq!(
        config.pull,
        Pull {
            loglevel: LogLevel::Info,
            host_name: None,
            socket_dir: None,
            servers: vec![],
            retries: Retries::Times(1),
            timeout: Duration::from_millis(100),
            interval: Duration::from_millis(500),
            pull_timeout: Some(Duration::from_secs(2)),
            pull_interval: Duration::from_secs(10),
            answer_limit: 268_435_456,
            dst_dir: PathBuf::from("/var/lib/haproxystats/incoming"),
            tmp_dst_dir: PathBuf::from("/var/lib/haproxystats/incoming.tmp"),
            workers: 8,
            queue_size: 360,
            sync: true,
            allow_partial: false,
            monitor_listen: None,
            masters: Vec::new(),
            old_workers: true,
            servers_interval: 1,
            uwsgi: Uwsgi { servers: vec![], allow_partial: true },
            zope: Zope {
                servers: vec![],
                deployments: vec![],
                database: "main".into(),
                sampling_interval: Duration::from_secs(300),
                allow_partial: true,
            },
        }
    );
}

#[test]
fn process_has_its_defaults_too() {
    let naming = Naming {
        namespace: "loadbalancers".to_owned(),
        host: HostPart::Full,
        groups: None,
        tags: false,
        max_line: Some(16_384),
    };
    let circuit = Circuit {
        retries: Retries::Times(3),
        interval: Duration::from_millis(1800),
        backoff: 2.0,
        delay: Duration::from_secs(10),
    };
    let graphite = Graphite {
        servers: vec![Address::Tcp { host: "127.0.0.1".to_owned(), port: 3002 }],
        cluster: Cluster::Failover,
        tls: None,
        connect_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
        confirm: Confirm::Close,
        confirm_timeout: Duration::from_secs(60),
        naming,
    };
    let outbox_dir = PathBuf::from("/var/lib/haproxystats/outbox");
    let outbox = Outbox { size_bytes: 268_435_456, metrics: None, replay_rate: 50_000, sync: true };
    let naming = graphite.naming.clone();
    assert_eq!(
        load_text("").process,
        Process {
            loglevel: LogLevel::Info,
            src_dir: PathBuf::from("/var/lib/haproxystats/incoming"),
            workers: 4,
            liveness_check_interval: Duration::from_secs(10),
            job_timeout: Duration::from_secs(300),
            partial_input: PartialInput::Accept,
            failed_dir: PathBuf::from("/var/lib/haproxystats/failed"),
            failed_limit: 100,
            tables: Tables {
                frontend_metrics: Selection::Default,
                backend_metrics: Selection::Default,
                server_metrics: Selection::Default,
                daemon_metrics: Selection::Default,
                aggr_server_metrics: false,
                max_servers_per_backend: None,
                exclude_frontends: None,
                exclude_backends: None,
                per_process_metrics: false,
                calculate_percentages: false,
                server_states: false,
                hide_maint: false,
                file_limit: 268_435_456,
            },
            outbox_dir,
            monitor_listen: None,
            receivers: vec![Receiver {
                name: "graphite".parse().unwrap(),
                circuit,
                outbox,
                kind: ReceiverKind::Graphite(graphite),
            }],
            naming,
        }
    );
}

#[test]
fn default_reaches_only_what_a_section_has_no_default_for() {
    let config = load_text("[DEFAULT]\nretries = 9\nloglevel = debug\nsocket-dir = /run/haproxy\n");
    assert_eq!(config.pull.retries, Retries::Times(1));
    assert_eq!(config.process.receivers[0].circuit.retries, Retries::Times(3));
    assert_eq!(config.pull.loglevel, LogLevel::Debug);
    assert_eq!(config.process.loglevel, LogLevel::Debug);
    assert_eq!(config.pull.socket_dir, Some(PathBuf::from("/run/haproxy")));
    let warnings: Vec<_> = config.warnings.iter().map(|warning| &warning.option).collect();
    assert_eq!(warnings, [&Some("retries".to_owned())]);
}

/// A bound in metrics drops metrics, so it holds only if the receiver's section sets it.
#[test]
fn queue_size_bounds_the_outbox_only_where_graphite_itself_has_it() {
    let bound = |text: &str| load_text(text).process.receivers[0].outbox.metrics;
    assert_eq!(bound("[graphite]\nqueue-size = 7\n"), Some(7));
    assert_eq!(bound("[DEFAULT]\nn = 8\n[graphite]\nqueue-size = ${n}\n"), Some(8));
    assert_eq!(bound("[pull]\nqueue-size = 9\n"), None);
    assert_eq!(bound("[DEFAULT]\nqueue-size = 9\n"), None);
    let warnings = load_text("[DEFAULT]\nqueue-size = 9\n").warnings;
    assert!(
        warnings[0].to_string().ends_with(
            "[DEFAULT] queue-size: not read here, where its section does not inherit it; set it \
             in [pull] or [graphite] or [influxdb] or [kafka] or [local-store]"
        ),
        "{warnings:?}"
    );
}

#[test]
fn folders_of_ours_follow_base_dir() {
    let config = load_text("[paths]\nbase-dir = /srv/stats\n");
    assert_eq!(config.process.failed_dir, PathBuf::from("/srv/stats/failed"));
    assert_eq!(config.process.outbox_dir, PathBuf::from("/srv/stats/outbox"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_section_counts_before_default() {
    let config = load_text("[DEFAULT]\nloglevel = debug\n[pull]\nLogLevel : ERROR\n");
    assert_eq!(config.pull.loglevel, LogLevel::Error);
    assert_eq!(config.process.loglevel, LogLevel::Debug);
}

#[test]
fn files_of_the_folder_override_option_by_option_in_name_order() {
    let files = Files::new(&[
        ("c.conf", "[process]\nworkers = 2\nper-process-metrics = on\n"),
        ("d/10.conf", "[process]\nworkers = 3\n[paths]\nbase-dir = /ten\n"),
        ("d/20.conf", "[process]\nworkers = 5\nsrc-dir = ${paths:base-dir}/in\n"),
        ("d/30.conf.old", "[process]\nworkers = 7\n"),
        ("d/.hidden.conf", "[process]\nworkers = 8\n"),
    ]);
    let process = files.load().unwrap().process;
    assert_eq!(process.workers, 5);
    assert!(process.tables.per_process_metrics);
    assert_eq!(process.src_dir, PathBuf::from("/ten/in"));
}

/// A child gets its part as JSON from its parent.
#[test]
fn typed_values_survive_json() {
    let config = load_text(
        "[pull]\nservers = unix:///run/h.sock, tcp://[::1]:7000\nretries = -1\n\
         [process]\nserver-metrics = all\nbackend-metrics = bin stot\n\
         [graphite]\ngroup-namespace = g\ngroup-namespace-double-writes = no\nbackoff = 1.1\n\
         queue-size = 5\nreplay-rate = 0\noutbox-sync = no\n\
         [frontend-groups]\nx = ^a\\d(?!b)\n[local-store]\nretention = 0.1\n\
         [graphite:second]\ngroups = no\nbackoff = 1.3\n\
         [influxdb]\nurl = https://[::1]:1/x\nbucket = b\ntoken-file = /t\ntags = a=b\n\
         server-name = x\n[influxdb:one]\nurl = http://x\ndatabase = d\n\
         [kafka]\nsecurity-protocol = sasl_ssl\nsasl-username = u\nsasl-password-file = /p\n\
         librdkafka.linger.ms = 7\n",
    );
    let pull: Pull = serde_json::from_str(&serde_json::to_string(&config.pull).unwrap()).unwrap();
    let process: Process =
        serde_json::from_str(&serde_json::to_string(&config.process).unwrap()).unwrap();
    assert_eq!((pull, process), (config.pull, config.process));
}
