//! Receivers: which are on, the configuration of each, and the names of sections.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use haproxystats_config::{Circuit, Cluster, HostPart, Process, Program, Retries, print_in_force};

use crate::{Files, faults_of, graphites, load_text, local_stores};

fn process(text: &str) -> Process {
    load_text(text).process
}

/// The names of the receivers that are on, in order.
fn names(text: &str) -> Vec<String> {
    process(text).receivers.iter().map(|receiver| receiver.name.to_string()).collect()
}

#[test]
fn a_section_turns_its_receiver_on_and_the_unnamed_graphite_needs_none() {
    assert_eq!(names(""), ["graphite"]);
    assert_eq!(
        names("[local-store]\n[graphite:b]\n[graphite]\n[graphite:a]\n"),
        ["graphite", "local-store", "graphite:b", "graphite:a"]
    );
    assert_eq!(names("[graphite:b]\n[local-store]\nenabled = no\n"), ["graphite", "graphite:b"]);
    assert_eq!(names("[graphite]\nenabled = no\n[graphite:b]\n"), ["graphite:b"]);
    assert_eq!(names("[graphite]\nenabled = no\n[local-store:x]\n"), ["local-store:x"]);
}

#[test]
fn a_later_file_adds_a_receiver() {
    let files = Files::new(&[
        ("c.conf", "[graphite]\nserver = a\n"),
        ("d/second.conf", "[graphite:second]\nserver = b\n"),
    ]);
    let process = files.load().unwrap().process;
    let servers: Vec<_> =
        graphites(&process).iter().map(|graphite| graphite.servers[0].to_string()).collect();
    assert_eq!(servers, ["a:3002", "b:3002"]);
}

#[test]
fn one_receiver_must_be_on() {
    let fault = "false, and no other receiver is on: nothing would be sent anywhere; write true, \
                 or add another receiver such as the section [local-store]";
    let off = "[graphite]\nenabled = no\n[graphite:b]\nenabled = no\n[local-store]\nenabled = 0\n";
    assert_eq!(faults_of(off), [format!("c.conf:2: [graphite] enabled: {fault}")]);
}

/// A named section has the defaults of its kind, and inherits nothing from other sections of it.
#[test]
fn every_option_of_a_kind_holds_in_each_of_its_sections() {
    let config = load_text(
        "[DEFAULT]\nqueue-size = 9\n\
         [graphite]\nserver = a\nport = 1\nretries = 9\nnamespace = x\noutbox-size = 1\n\
         [graphite:second]\nserver = ${graphite:server}b\ninterval = 1\nqueue-size = 7\n\
         replay-rate = 5\nfqdn = no\nconfirm = tcp\n\
         [local-store:audit]\ndir = /audit\nretention = 60\noutbox-size = 3\nretries = -1\n\
         delay = ${graphite:second:interval}\noutbox-sync = no\nbackoff = 1.5\n",
    );
    let process = config.process;
    let [first, second] = graphites(&process).try_into().unwrap();
    assert_eq!(first.servers[0].to_string(), "a:1");
    assert_eq!(second.servers[0].to_string(), "ab:3002");
    assert_eq!((first.naming.namespace.as_str(), first.naming.host), ("x", HostPart::Full));
    let second = &second.naming;
    assert_eq!((second.namespace.as_str(), second.host), ("loadbalancers", HostPart::Short));

    let [first, second, audit] = process.receivers.as_slice() else { panic!("three receivers") };
    assert_eq!(first.circuit.retries, Retries::Times(9));
    assert_eq!(second.circuit.retries, Retries::Times(3));
    assert_eq!(second.circuit.interval, Duration::from_secs(1));
    let waiting = [first, second, audit].map(|one| (one.outbox.size_bytes, one.outbox.metrics));
    assert_eq!(waiting, [(1, None), (268_435_456, Some(7)), (3, None)]);
    assert_eq!((second.outbox.replay_rate, second.outbox.sync), (5, true));
    assert_eq!((audit.outbox.replay_rate, audit.outbox.sync), (50_000, false));
    let circuit = Circuit {
        retries: Retries::Forever,
        interval: Duration::from_millis(1800),
        backoff: 1.5,
        delay: Duration::from_secs(1),
    };
    assert_eq!(audit.circuit, circuit);
    // local-store writes the lines of the unnamed Graphite.
    let [store] = local_stores(&process).try_into().unwrap();
    assert_eq!((store.dir.as_path(), store.retention), (Path::new("/audit"), Some(MINUTE)));
    assert_eq!(store.naming.namespace, "x");
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_section_that_is_off_is_checked_too() {
    assert_eq!(
        faults_of("[graphite:b]\nenabled = no\nport = 0\n[local-store:x]\nretries = x\n"),
        [
            "c.conf:3: [graphite:b] port: \"0\" is out of range; write one from 1 to 65535",
            "c.conf:5: [local-store:x] retries: \"x\" is no whole number; write one from 0 on, or \
             -1 for no limit",
        ]
    );
}

#[test]
fn names_that_are_none() {
    for name in ["graphite:", "graphite:Second", "local-store:a b", "graphite:a:b", "graphite:é"] {
        let expected = format!(
            "c.conf:1: [{name}]: {name:?} names no receiver; write its kind, then a colon and a \
             name of 1 to 32 characters of a-z, 0-9, _ and -, such as graphite:second"
        );
        assert_eq!(faults_of(&format!("[{name}]\n")), [expected]);
    }
    let longest = format!("[graphite:{}]\n", "x".repeat(32));
    assert_eq!(names(&longest).len(), 2);
    assert_eq!(faults_of(&longest.replace(']', "x]")).len(), 1);
}

#[test]
fn sections_that_are_no_receivers_get_the_nearest_name() {
    let files = Files::new(&[(
        "c.conf",
        "[graphit:a]\n[Local-Store:b]\n[pull:c]\n[graphite:d]\nprot = 1\nretention = 1\n\
         prefix_hostname = no\n",
    )]);
    let warnings = files.load().unwrap().warnings;
    let lines: Vec<_> = warnings.iter().flat_map(|warning| files.lines(warning)).collect();
    assert_eq!(
        lines,
        [
            "c.conf:1: [graphit:a]: unknown section, not read; did you mean [graphite:a]?",
            "c.conf:2: [Local-Store:b]: unknown section, not read; did you mean [local-store:b]?",
            "c.conf:3: [pull:c]: unknown section, not read",
            "c.conf:5: [graphite:d] prot: unknown option, not read; did you mean port?",
            "c.conf:6: [graphite:d] retention: unknown option here, not read; it belongs in \
             [local-store]",
            "c.conf:7: [graphite:d] prefix_hostname: unknown option, not read; write \
             prefix-hostname",
        ]
    );
}

#[test]
fn outbox_dir_in_a_receivers_section_is_refused() {
    let moved = "outbox-dir: this option is [process] outbox-dir now, and each receiver has a \
                 folder in that directory; set it there and leave it out here";
    assert_eq!(
        faults_of("[graphite]\noutbox-dir = /o\n[local-store:x]\noutbox-dir = /p\n"),
        [format!("c.conf:2: [graphite] {moved}"), format!("c.conf:4: [local-store:x] {moved}")]
    );
    let outbox_dir = process("[process]\noutbox-dir = /o\n").outbox_dir;
    assert_eq!(outbox_dir, Path::new("/o"));
}

#[test]
fn the_directory_of_every_local_store_is_compared() {
    assert_eq!(
        faults_of("[local-store]\n[local-store:x]\n"),
        ["c.conf:2: [local-store:x] dir: resolves to \"/var/lib/haproxystats/local-store\", as \
             [local-store] dir does; write a directory that no other option names"]
    );
    assert_eq!(
        faults_of("[process]\noutbox-dir = /o\n[local-store:x]\ndir = /o/x\n"),
        ["c.conf:4: [local-store:x] dir: resolves to \"/o/x\", which lies in \"/o\", the \
             directory of [process] outbox-dir; write a directory outside \"/o\""]
    );
    assert_eq!(faults_of("[local-store]\n[local-store:x]\nenabled = no\n"), [""; 0]);
}

#[test]
fn groups_hold_in_every_graphite_that_does_not_switch_them_off() {
    let groups = "group-namespace = g\ngroup-namespace-double-writes = no\n";
    let text = format!(
        "[graphite]\n{groups}[graphite:b]\ngroups = no\ngroup-namespace = unused\n\
         [graphite:c]\n{}[local-store]\n[server-groups]\nx = y\n",
        groups.replace("no", "yes")
    );
    let process = process(&text);
    let double_writes: Vec<_> = graphites(&process)
        .iter()
        .map(|graphite| graphite.naming.groups.as_ref().map(|groups| groups.double_writes))
        .collect();
    assert_eq!(double_writes, [Some(false), None, Some(true)]);
    assert!(local_stores(&process)[0].naming.groups.is_some());

    let off = "[graphite]\ngroups = no\n[local-store]\n[server-groups]\nx = y\n";
    let process = self::process(off);
    assert_eq!(graphites(&process)[0].naming.groups, None);
    assert_eq!(local_stores(&process)[0].naming.groups, None);
    assert_eq!(
        faults_of(&format!("{off}[graphite:b]\nserver = b\n")),
        ["c.conf:4: [server-groups]: the groups need a group-namespace; set it in [graphite:b], \
             write groups = false there, or leave this section out"]
    );
    // Groups that are off are checked too.
    assert_eq!(faults_of("[graphite]\ngroups = no\ngroup-namespace = a b\n").len(), 1);
}

/// Groups can be there for another kind of receiver.
#[test]
fn a_graphite_that_is_off_needs_no_group_namespace() {
    let others = "enabled = no\n[graphite:b]\nenabled = no\n[influxdb]\nurl = http://a\n\
                  database = d\n[server-groups]\nx = y\n";
    assert_eq!(names(&format!("[graphite]\n{others}")), ["influxdb"]);
}

/// The naming of the unnamed Graphite is read for itself and for a local-store.
#[test]
fn a_fault_in_the_names_of_the_unnamed_graphite_is_reported_once() {
    for others in ["", "enabled = no\n[local-store]\n"] {
        assert_eq!(
            faults_of(&format!("[server-groups]\nx = y\n[graphite]\n{others}")),
            ["c.conf:1: [server-groups]: the groups need a group-namespace; set it in \
                 [graphite], write groups = false there, or leave this section out"]
        );
        let namespace = faults_of(&format!("[graphite]\nnamespace = a b\n{others}"));
        assert_eq!(namespace.len(), 1, "{namespace:?}");
        assert!(namespace[0].starts_with("c.conf:2: [graphite] namespace: "), "{namespace:?}");
    }
}

#[test]
fn there_may_be_sixteen_receivers() {
    let mut text = String::new();
    for number in 1..16 {
        writeln!(text, "[graphite:{number}]").unwrap();
    }
    assert_eq!(names(&text).len(), 16);
    assert_eq!(
        faults_of(&format!("{text}[local-store]\n")),
        ["c.conf:16: [local-store]: more than 16 receivers; leave out the others"]
    );
}

/// The order of receivers survives, and sections with names have their values.
#[test]
fn printed_receivers_read_back() {
    let config = load_text(
        "[graphite:b]\nserver = b\nqueue-size = 4\ngroups = no\n[mine]\nx = 1\n\
         [local-store:z]\ndir = /z\n[graphite]\ngroups = no\n[server-groups]\na = b$$\n\
         [local-store]\nenabled = no\n\
         [graphite:a]\ngroup-namespace = g\ngroup-namespace-double-writes = yes\n\
         server = ${graphite:b:server}\n[process]\noutbox-dir = /o\n",
    );
    let printed = print_in_force(&config.document, Program::Process);
    let sections: Vec<_> = printed.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        sections,
        [
            "[DEFAULT]",
            "[paths]",
            "[process]",
            "[graphite]",
            "[graphite:b]",
            "[local-store:z]",
            "[local-store]",
            "[graphite:a]",
            "[server-groups]",
            "[mine]",
        ]
    );
    let again = load_text(&printed);
    assert_eq!(again.process, config.process);
    assert_eq!(print_in_force(&again.document, Program::Process), printed);
    let names: Vec<_> = config.process.receivers.iter().map(|one| one.name.to_string()).collect();
    assert_eq!(names, ["graphite", "graphite:b", "local-store:z", "graphite:a"]);
    assert!(!print_in_force(&config.document, Program::Pull).contains("graphite"), "{printed}");
}

#[test]
fn a_graphite_has_several_servers_each_once() {
    let process =
        load_text("[graphite]\nserver = a, b:1,\n  unix:///run/c\ncluster = any\n").process;
    let servers: Vec<String> =
        graphites(&process)[0].servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["a:3002", "b:1", "unix:///run/c"]);
    assert_eq!(graphites(&process)[0].cluster, Cluster::Any);
}

#[test]
fn a_unix_socket_has_no_kernel_that_acknowledges() {
    let text = "[graphite]\nserver = a, unix:///run/c\nconfirm = tcp\n";
    let faults = faults_of(text).join("\n");
    assert!(faults.contains("[graphite] confirm: tcp asks the kernel"), "{faults}");
    assert!(faults.contains("unix:///run/c"), "{faults}");
}

#[test]
fn with_tags_groups_need_no_namespace_and_take_none() {
    let text = "[graphite]\ntags = true\n[backend-groups]\na = b\n";
    let process = load_text(text).process;
    let naming = &graphites(&process)[0].naming;
    assert!(naming.tags && naming.groups.as_ref().is_some_and(|groups| !groups.double_writes));
    assert_eq!(graphites(&load_text("[graphite]\ntags = yes\n").process)[0].naming.groups, None);
    let off = load_text(&text.replace("tags = true", "tags = true\ngroups = no"));
    assert_eq!(graphites(&off.process)[0].naming.groups, None);
    for option in ["group-namespace = g", "group-namespace-double-writes = true"] {
        let faults = faults_of(&text.replace("tags = true", &format!("tags = true\n{option}")));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("a group is the tag group"), "{faults:?}");
    }
}

#[test]
fn tls_has_its_files_and_one_confirmation() {
    let text = "[graphite]\ntls = true\nca-file = /ca\nserver-name = g\n";
    let process = load_text(text).process;
    let tls = graphites(&process)[0].tls.as_ref().unwrap();
    assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/ca")));
    assert_eq!(tls.server_name.as_deref(), Some("g"));
    for (more, fault) in [
        ("confirm = tcp", "[graphite] confirm: with tls = true only close"),
        ("confirm = none", "[graphite] confirm: with tls = true only close"),
        ("server = unix:///run/x", "[graphite] tls: unix:///run/x is a UNIX socket"),
        ("certificate = /c", "[graphite] certificate: needs key"),
    ] {
        let faults = faults_of(&format!("{text}{more}\n"));
        assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
    }
    let faults = faults_of("[graphite]\nca-file = /ca\n");
    assert!(faults[0].contains("is for TLS, which is off here"), "{faults:?}");
}
