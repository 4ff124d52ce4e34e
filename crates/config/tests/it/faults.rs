//! Every kind of fault with the words that an operator reads.

use std::error::Error;
use std::fs;

use haproxystats_config::{Sources, known_options, load};

use crate::{Files, faults_of, load_text};

/// Each case is an option of `[section]` with its value, and the fault after the option's name.
fn assert_values(section: &str, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let option = line.split_once(" =").unwrap().0;
        let faults = faults_of(&format!("[{section}]\n{line}\n"));
        assert_eq!(faults, [format!("c.conf:2: [{section}] {option}: {expected}")], "{line}");
    }
}

#[test]
fn numbers_that_are_none_or_out_of_range() {
    assert_values(
        "pull",
        &[
            ("timeout = fast", "\"fast\" is no number of seconds; write one such as 0.1"),
            ("timeout = 0", "\"0\" is out of range; write from 0.001 to 1000000000 seconds"),
            ("interval = -1", "\"-1\" is out of range; write from 0 to 1000000000 seconds"),
            ("interval = nan", "\"nan\" is out of range; write from 0 to 1000000000 seconds"),
            ("pull-timeout = inf", "\"inf\" is out of range; write from 0 to 1000000000 seconds"),
            (
                "pull-timeout = 1e300",
                "\"1e300\" is out of range; write from 0 to 1000000000 seconds",
            ),
            ("pull-interval = 0", "\"0\" is out of range; write one from 1 to 1000000000"),
            ("pull-interval = 0.5", "\"0.5\" is no whole number; write one from 1 to 1000000000"),
            ("retries = -2", "\"-2\" is out of range; write one from 0 on, or -1 for no limit"),
            (
                "retries = often",
                "\"often\" is no whole number; write one from 0 on, or -1 for no limit",
            ),
            ("buffer-limit = 0", "\"0\" is out of range; write one from 1 to 1073741824"),
            ("answer-limit = 0", "\"0\" is out of range; write one from 1 on"),
            ("workers = 513", "\"513\" is out of range; write one from 1 to 512"),
            ("workers =", "\"\" is no whole number; write one from 1 to 512"),
            ("queue-size = -1", "\"-1\" is out of range; write one from 1 to 1000000000"),
            (
                "loglevel = loud",
                "\"loud\" is no level; write debug, info, warning, error or critical",
            ),
            ("sync = maybe", "\"maybe\" is neither yes nor no; write true or false"),
            ("allow-partial = 2", "\"2\" is neither yes nor no; write true or false"),
        ],
    );
    let failed_limit = "\"0\" is out of range; write one from 1 to 1000000000";
    let partial_input = "\"true\" is neither accept nor refuse; write accept or refuse";
    assert_values(
        "process",
        &[("failed-limit = 0", failed_limit), ("partial-input = true", partial_input)],
    );
    assert_values(
        "graphite",
        &[
            ("port = 65536", "\"65536\" is out of range; write one from 1 to 65535"),
            ("backoff = 0.9", "\"0.9\" is out of range; write one from 1 to 1000, such as 1.5"),
            ("backoff = x", "\"x\" is no number; write one from 1 to 1000, such as 1.5"),
            ("queue-size = 0", "\"0\" is out of range; write one from 1 on"),
            ("outbox-size = 0", "\"0\" is out of range; write one from 1 on"),
            ("outbox-size = 1G", "\"1G\" is no whole number; write one from 1 on"),
            ("replay-rate = -1", "\"-1\" is out of range; write one from 0 on"),
            ("outbox-sync =", "\"\" is neither yes nor no; write true or false"),
            ("confirm = ack", "\"ack\" is no way to confirm; write close, tcp or none"),
        ],
    );
}

#[test]
fn texts_that_cannot_be_used() {
    let no_prefix = "is no part of a metric's path; write parts without blanks, and dots between \
    them, such as web.edge";
    assert_values(
        "graphite",
        &[
            ("namespace = a b", &format!("\"a b\" {no_prefix}")),
            ("namespace =", &format!("\"\" {no_prefix}")),
            ("namespace = a..b", &format!("\"a..b\" {no_prefix}")),
            ("server = h:x", "\"h:x\" is an address with a bad port; write a port from 1 to 65535"),
            ("server =", "\"\" is no server; write host, host:port, [v6]:port or unix:///path"),
            (
                "server = unix://x",
                "\"unix://x\" is no path of a socket; write an absolute path after unix://, such \
                as unix:///run/relay.sock",
            ),
            ("cluster = all", "\"all\" is no kind of cluster; write failover or any"),
        ],
    );
    assert_values(
        "process",
        &[
            ("src-dir =", "\"\" is no path; write one such as /var/lib/haproxystats"),
            ("exclude-frontends =", "\"\" is no path; write one such as /var/lib/haproxystats"),
            (
                "server-metrics = bin,bout",
                "\"bin,bout\" is no metric of HAProxy; write field names of its CSV statistics \
                with blanks between",
            ),
            (
                "server-metrics = bin -bout",
                "\"-bout\" is a name to leave out of no list; write all before it, because only \
                that list has names to leave out",
            ),
            (
                "server-metrics =",
                "\"\" is no list of metrics; write names of metrics or all, or leave the option \
                out for the default ones",
            ),
        ],
    );
}

/// carbon makes a directory of each part of a path, and a file's name has at most 255 bytes.
#[test]
fn a_part_of_a_path_has_at_most_250_bytes() {
    let (long, longer) = ("n".repeat(250), "n".repeat(251));
    let settings = |part: &str| {
        format!(
            "[graphite]\nnamespace = a.{part}\ngroup-namespace = {part}.b\n\
             group-namespace-double-writes = no\n[backend-groups]\n{part} = x\n"
        )
    };
    load_text(&settings(&long));
    let quoted = |begin: &str| format!("{begin}{}…", "n".repeat(80 - begin.len()));
    let path = "is a path with a part that is too long for carbon; write parts of at most 250 \
                bytes, with dots between them";
    let name = "is a group's name that is too long for carbon; write one of at most 250 bytes";
    assert_eq!(
        faults_of(&settings(&longer)),
        [
            format!("c.conf:2: [graphite] namespace: {:?} {path}", quoted("a.")),
            format!("c.conf:3: [graphite] group-namespace: {:?} {path}", quoted("")),
            format!("c.conf:6: [backend-groups] {longer}: {:?} {name}", quoted("")),
        ]
    );
    // 125 of these letters have 250 bytes, and 375 in lower case, in which a path has them.
    let grows = settings(&"\u{023a}".repeat(125));
    let [fault] = faults_of(&grows).try_into().unwrap();
    assert!(fault.contains(name), "{fault}");
}

#[test]
fn servers_that_are_none() {
    let forms = "write unix:///path, tcp://host:port or tcp://[v6]:port";
    let port = "is an address without a port; write the port too, such as tcp://127.0.0.1:7000 or \
    tcp://[::1]:7000";
    let path = "is no path of a socket; write an absolute path after unix://, such as \
    unix:///run/haproxy/admin.sock";
    assert_values(
        "pull",
        &[
            ("servers =", &format!("\"\" is no server; {forms}")),
            ("servers = unix:///a,", &format!("\"\" is no server; {forms}")),
            ("servers = /run/a", &format!("\"/run/a\" is no address of a stats socket; {forms}")),
            ("servers = unix://run/a", &format!("\"unix://run/a\" {path}")),
            ("servers = tcp://h", &format!("\"tcp://h\" {port}")),
            ("servers = tcp://h:", &format!("\"tcp://h:\" {port}")),
            ("servers = tcp://[::1]", &format!("\"tcp://[::1]\" {port}")),
            (
                "servers = tcp://[x]:1",
                "\"tcp://[x]:1\" is no IPv6 address; write one such as tcp://[::1]:7000",
            ),
            (
                "servers = tcp://::1:7",
                "\"tcp://::1:7\" is an IPv6 address without brackets; write it in brackets, such \
                as tcp://[::1]:7000",
            ),
            (
                "servers = tcp://:7",
                "\"tcp://:7\" is an address without a host; write tcp://host:port",
            ),
            (
                "servers = tcp://h:0",
                "\"tcp://h:0\" is an address with a bad port; write a port from 1 to 65535",
            ),
            ("servers = tcp://h:1, tcp://H:1", "\"tcp://H:1\" is listed twice; keep one"),
        ],
    );
}

#[test]
fn options_that_do_not_go_together() {
    assert_eq!(
        faults_of("[graphite]\nenabled = no\n"),
        ["c.conf:2: [graphite] enabled: false, and no other receiver is on: nothing would be \
            sent anywhere; write true, or add another receiver such as the section [local-store]"]
    );
    assert_eq!(
        faults_of("[pull]\n[server-groups]\na = b\n"),
        ["c.conf:2: [server-groups]: the groups need a group-namespace; set it in [graphite], \
            write groups = false there, or leave this section out"]
    );
    assert_eq!(
        faults_of("[graphite]\ngroup-namespace = g\n"),
        [
            "c.conf:1: [graphite] group-namespace-double-writes: is not set, is needed here and \
            has no default; set it",
            "c.conf:2: [graphite] group-namespace: there are no groups; add [frontend-groups], \
            [backend-groups] or [server-groups] with NAME = REGEX, or leave it out",
        ]
    );
    assert_eq!(
        faults_of(
            "[graphite]\ngroup-namespace = a b\n[backend-groups]\nx y = (\n\
             [DEFAULT]\ngroup-namespace-double-writes = x\n"
        ),
        [
            "c.conf:2: [graphite] group-namespace: \"a b\" is no part of a metric's path; write \
            parts without blanks, and dots between them, such as web.edge",
            "c.conf:4: [backend-groups] x y: \"x y\" is no name for a group; write one without \
            blanks, such as front",
            "c.conf:4: [backend-groups] x y: the pattern does not compile: Parsing \
            error at position 1: Opening parenthesis without closing parenthesis; write a Python \
            regular expression",
            "c.conf:6: [DEFAULT] group-namespace-double-writes: \"x\" is neither yes nor no; \
            write true or false",
        ]
    );
}

#[test]
fn what_a_default_refers_to_is_faulty_where_it_stands() {
    let place = "c.conf:2: [paths] base-dir: ";
    assert_eq!(
        faults_of("[paths]\nbase-dir = ${nope}\n"),
        [format!("{place}${{nope}} names nothing that is set")]
    );
    assert_eq!(
        faults_of("[paths]\nbase-dir = ${process:failed-dir}\n"),
        [format!(
            "{place}refers to itself: [paths] base-dir -> [process] failed-dir -> [paths] base-dir"
        )]
    );
    let long = format!("/{}", "x".repeat(65_536));
    assert_eq!(
        faults_of(&format!("[paths]\nbase-dir = {long}\n")),
        [format!("{place}grows over 65536 bytes by its references; write fewer of them")]
    );
    let links: String = (0..64).map(|link| format!("l{link} = ${{l{}}}\n", link + 1)).collect();
    assert_eq!(
        faults_of(&format!("[paths]\nbase-dir = ${{l1}}\n{links}l64 = /end\n")),
        [format!("{place}references are nested deeper than 64; write the value itself")]
    );
}

#[test]
fn lines_that_are_not_ini() {
    assert_eq!(
        faults_of("a = 1\n[pull] x\n[pull]\nworkers\n= 3\nworkers = 4\nWORKERS = 5\n[pull]\n"),
        [
            "c.conf:1: \"a = 1\" stands before any section; write a header such as [DEFAULT] above \
            it",
            "c.conf:2: \"[pull] x\" is no section header; write the name in brackets and nothing \
            after them",
            "c.conf:4: [pull]: \"workers\" has neither = nor :; write \"name = value\", or indent \
            it if it continues a value",
            "c.conf:5: [pull]: \"= 3\" has no name before its delimiter; write \"name = value\"",
            "c.conf:7: [pull] workers: given in line 6 already; keep one of the two",
            "c.conf:8: [pull]: this section begins in line 3 already; put its options there",
        ]
    );
}

#[test]
fn a_long_line_is_quoted_by_its_beginning() {
    let faults = faults_of(&format!("[pull]\nworkers = {}\n", "é".repeat(1000)));
    let quoted = "é".repeat(80);
    assert_eq!(
        faults,
        [format!(
            "c.conf:2: [pull] workers: \"{quoted}…\" is no whole number; write one from 1 to 512"
        )]
    );
}

#[test]
fn a_file_that_is_no_text_or_too_long() {
    let files = Files::new(&[]);
    let path = files.dir.path().join("c.conf");
    fs::write(&path, b"[pull]\nworkers = \xff\n[pull]\n").unwrap();
    assert_eq!(
        files.lines(&files.load().unwrap_err()),
        [
            "c.conf:2: this line is not UTF-8; save the file as UTF-8",
            "c.conf:2: [pull] workers: \"\u{fffd}\" is no whole number; write one from 1 to 512",
            "c.conf:3: [pull]: this section begins in line 1 already; put its options there",
        ]
    );
    fs::write(&path, "\u{feff}[pull]\nworkers = 4\n").unwrap();
    assert_eq!(
        files.lines(&files.load().unwrap_err()),
        ["c.conf:1: the file begins with a byte order mark; save it as UTF-8 without one"]
    );
    fs::write(&path, vec![b'#'; (4 << 20) + 1]).unwrap();
    assert_eq!(
        files.lines(&files.load().unwrap_err()),
        ["c.conf: longer than 4194304 bytes; is this a configuration file?"]
    );
}

#[test]
fn files_that_cannot_be_read_keep_their_reason() {
    let files = Files::new(&[("c.conf", "[pull]\nworkers = x\n"), ("d/a.conf/x", "")]);
    let faults = files.load().unwrap_err();
    assert_eq!(
        files.lines(&faults),
        [
            "c.conf:2: [pull] workers: \"x\" is no whole number; write one from 1 to 512",
            "d/a.conf: cannot be read: Is a directory (os error 21); check that it is a file and \
             that our user may read it",
        ]
    );
    assert!(faults.iter().last().unwrap().source().is_some());

    let dir = Some(files.dir.path().join("none"));
    let faults = load(&Sources { file: files.dir.path().join("none.conf"), dir }).unwrap_err();
    assert_eq!(
        files.lines(&faults),
        [
            "none.conf: no such file; write it, or name another one with -f",
            "none: the folder cannot be listed: No such file or directory (os error 2); check that \
             it exists and that our user may read it",
        ]
    );
}

#[test]
fn all_faults_of_all_files_and_sections_come_in_one_run() {
    let files = Files::new(&[
        (
            "c.conf",
            "[DEFAULT]\nloglevel = loud\n[pull]\ntimeout = x\nservers = a, b\n[graphite]\nport = \
            0\nfqdn = x\n",
        ),
        (
            "d/a.conf",
            "[process]\nworkers = none\nsrc-dir = ${nope}\nno delimiter\n[local-store]\ndir =\n",
        ),
    ]);
    assert_eq!(
        files.lines(&files.load().unwrap_err()),
        [
            "c.conf:2: [DEFAULT] loglevel: \"loud\" is no level; write debug, info, warning, error \
            or critical",
            "c.conf:4: [pull] timeout: \"x\" is no number of seconds; write one such as 0.1",
            "c.conf:5: [pull] servers: \"a\" is no address of a stats socket; write unix:///path, \
            tcp://host:port or tcp://[v6]:port",
            "c.conf:5: [pull] servers: \"b\" is no address of a stats socket; write unix:///path, \
            tcp://host:port or tcp://[v6]:port",
            "c.conf:7: [graphite] port: \"0\" is out of range; write one from 1 to 65535",
            "c.conf:8: [graphite] fqdn: \"x\" is neither yes nor no; write true or false",
            "d/a.conf:2: [process] workers: \"none\" is no whole number; write one from 1 to 512",
            "d/a.conf:3: [process] src-dir: ${nope} names nothing that is set",
            "d/a.conf:4: [process]: \"no delimiter\" has neither = nor :; write \"name = value\", \
            or indent it if it continues a value",
            "d/a.conf:6: [local-store] dir: \"\" is no path; write one such as \
            /var/lib/haproxystats",
        ]
    );
}

#[test]
fn an_inherited_value_is_faulty_where_it_stands() {
    assert_eq!(
        faults_of("[DEFAULT]\nsocket-dir =\n"),
        ["c.conf:2: [DEFAULT] socket-dir: \"\" is no path; write one such as \
            /var/lib/haproxystats"]
    );
}

/// Every option of the table is read and checked.
#[test]
fn no_option_takes_a_control_character() {
    for known in known_options() {
        let faults = faults_of(&format!("[{}]\n{} = \u{1}\n", known.section, known.name));
        let place = format!("c.conf:2: [{}] {}: ", known.section, known.name);
        assert!(faults.iter().any(|fault| fault.starts_with(&place)), "{place}{faults:?}");
    }
}
