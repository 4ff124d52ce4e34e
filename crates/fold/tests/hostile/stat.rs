//! Damaged and partial answers to `show stat`.

use model::Value;

use crate::twin;
use crate::workbench::{HEADER, Snapshot, VERSIONS, config, everything, stat_dump};

fn good() -> String {
    format!("{HEADER}\nfe,FRONTEND,1,x,,,,0,\nfe,FRONTEND,2,5,,,,0,\nbe,s1,1,2,3,4,5,2,\n\n")
}

/// Texts that cannot begin an answer, each with a part of the reason.
const NO_ANSWERS: [(&[u8], &str); 9] = [
    (b"", "it is empty"),
    (b"\n", "it is empty"),
    (b"Permission denied\n\n", "but with \"Permission denied\""),
    (b"Unknown command. Please enter one of\n\n", "but with \"Unknown command. Please enter"),
    (b"\x7fELF\x02\x01\x01\0\0\xff\xfe", "but with \"\\u{7f}ELF"),
    (b"\xff\xfe#\0 \0p\0", "but with \"\u{fffd}\u{fffd}#\\0 \\0p\\0\""),
    (b"# pxname,svname,\xc3\x28,\nfe,FRONTEND,1,\n", "does not begin with HAProxy's header"),
    (b"# pxname,svname,scur", "it is cut in its header"),
    (b"# pxname,svname,\"scur,\nfe,FRONTEND,1,\n", "it is cut in its header"),
];

#[test]
fn what_is_no_answer_is_left_out_and_told_and_the_rest_is_folded() {
    let (alone, _) = Snapshot::new().stat(good()).fold(&everything());
    for (bad, why) in NO_ANSWERS {
        for files in [[bad, good().as_bytes()], [good().as_bytes(), bad]] {
            let (metrics, damages) = Snapshot::of_stats(&files).fold(&everything());
            assert_eq!(metrics, alone, "{why}");
            let of_bad = damages.iter().find(|(_, reason)| reason.starts_with("left out: "));
            assert!(of_bad.is_some_and(|(_, reason)| reason.contains(why)), "{damages:?}");
        }
        let (metrics, damages) = Snapshot::of_stats(&[bad, bad, bad]).fold(&everything());
        assert!(metrics.is_empty(), "{metrics:?}");
        assert_eq!(damages.len(), 3);
    }
}

#[test]
fn a_header_alone_or_without_a_wanted_column_is_no_damage() {
    for text in [HEADER, "# pxname,svname,", "# pxname,svname,type", "# pxname,svname,status,type,"]
    {
        let rows = if text == HEADER { "" } else { "fe,FRONTEND\na,b,2\na,b,UP,2,\n" };
        let (metrics, _) = Snapshot::new().stat(format!("{text}\n{rows}")).fold(&config());
        assert!(metrics.keys().all(|path| path.ends_with(" TotalServers")), "{metrics:?}");
    }
}

#[test]
fn names_are_kept_letter_by_letter() {
    let long = "n".repeat(200);
    let names = [
        ("NA", "NA"),
        ("null", "null"),
        ("nan", "nan"),
        ("123", "123"),
        ("www.example.com", "www.example.com"),
        (&long, &long),
        ("gr\u{fc}n\u{2028}", "gr\u{fc}n\u{2028}"),
        ("a b;c=d\te\u{7f}\0\u{1b}[0m\r", "a b;c=d\te\u{7f}\0\u{1b}[0m\r"),
        ("\"x,\"\"y\"\"\"", "x,\"y\""),
        ("../../etc", "../../etc"),
    ];
    for (written, name) in names {
        let rows = format!(
            "{written},FRONTEND,1,,,,,0,\n{written},BACKEND,1,,,,,1,\n{written},{written},1,,,,,2,"
        );
        let (metrics, damages) =
            Snapshot::new().stat(format!("{HEADER}\n{rows}\n")).fold(&everything());
        assert_eq!(damages, [], "{name:?}");
        let name = twin::in_path(name);
        for path in [
            format!("frontend {name} scur"),
            format!("backend {name} scur"),
            format!("{name}/{name} scur"),
            format!("server {name} scur"),
        ] {
            assert_eq!(metrics.get(&path), Some(&Value::Integer(1)), "{path} in {metrics:?}");
        }
    }
}

#[test]
fn names_that_are_none_cost_their_row() {
    let long = "n".repeat(5000);
    for name in ["", "\"\"", &long] {
        let text =
            format!("{HEADER}\n{name},FRONTEND,1,,,,,0,\nbe,{name},1,,,,,2,\nx,s,1,,,,,2,\n");
        let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
        assert!(metrics.keys().all(|path| path.contains('x')), "{metrics:?}");
        assert!(damages[0].1.starts_with("2 rows left out, the first since a name is"));
    }
    let text = [HEADER.as_bytes(), b"\n\xff,FRONTEND,1,,,,,0,\nx,FRONTEND,1,,,,,0,\n"].concat();
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(metrics.get("frontend x scur"), Some(&Value::Integer(1)));
    assert!(damages[0].1.starts_with("1 rows left out"));
}

/// A hostile cell that splits its column into halves does not change the other values.
#[test]
fn a_value_beyond_63_bits_leaves_the_others_alone() {
    let header = "# pxname,svname,rate_max,lastchg,qtime,weight,lbtot,type,";
    let honest = "b,s,4294967296,-1,3,-1,1,2,\nb,s,4294967295,-1,4,-1,1,2,\nb,s,1,9,4,0,1,2,\n";
    let forged = format!("x,y,{0},{0},{0},{0},{0},2,\n", u64::MAX);
    let config = config::Tables {
        server_metrics: config::Selection::Named(vec!["smax".into(), "lastchg".into()]),
        ..everything()
    };
    for config in [config, everything()] {
        let (alone, _) = Snapshot::new().stat(format!("{header}\n{honest}")).fold(&config);
        let text = format!("{header}\n{honest}{forged}");
        let (metrics, damages) = Snapshot::new().stat(&text).fold(&config);
        assert_eq!(damages, []);
        for (path, value) in &alone {
            assert_eq!(metrics.get(path), Some(value), "{path}");
        }
        twin::assert_same(&metrics, &twin::slow(&[text.as_bytes()], &config).unwrap());
    }
}

#[test]
fn a_negative_lbtot_is_no_traffic() {
    let text = format!("{HEADER}\nbe,s,1,1,7,-5,1,2,\nbe,s,1,1,9,0,1,2,\n");
    let (metrics, _) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(metrics.get("be/s rtime"), None);
}

/// The mean is exact even if the sum of the values does not fit 64 bits.
#[test]
fn a_mean_of_large_values_does_not_overflow() {
    let row = format!("be,s,1,1,{0},1,{0},2,\n", i64::MAX);
    let text = format!("{HEADER}\n{}", row.repeat(4));
    let (metrics, _) = Snapshot::new().stat(&text).fold(&everything());
    twin::assert_same(&metrics, &twin::slow(&[text.as_bytes()], &everything()).unwrap());
}

/// A file can be cut at any byte: its complete rows count, and the cut row is reported.
#[test]
fn a_file_cut_in_mid_row_keeps_its_complete_rows() {
    for version in VERSIONS {
        let dump = stat_dump(version);
        let begin = dump.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for at in (begin..dump.len() - 1).step_by(dump.len() / 40 + 1) {
            let cut = &dump[..at];
            let (metrics, damages) = Snapshot::of_stats(&[cut]).fold(&config());
            twin::assert_same(&metrics, &twin::slow(&[cut], &config()).unwrap());
            let in_row = cut.last() != Some(&b'\n');
            assert_eq!(damages.len(), usize::from(in_row), "cut at {at}");
        }
    }
}

#[test]
fn real_dumps_of_all_versions_read_as_the_slow_twin_reads_them() {
    let dumps = VERSIONS.map(stat_dump);
    let mut together: Vec<&[u8]> = dumps.iter().map(Vec::as_slice).collect();
    for config in [config(), everything()] {
        // Columns come and go between the files.
        for _ in 0..dumps.len() {
            together.rotate_left(1);
            let (metrics, damages) = Snapshot::of_stats(&together).fold(&config);
            assert_eq!(damages, []);
            assert!(metrics.len() > 300, "{}", metrics.len());
            twin::assert_same(&metrics, &twin::slow(&together, &config).unwrap());
        }
        for dump in &dumps {
            let (metrics, _) = Snapshot::of_stats(&[dump]).fold(&config);
            twin::assert_same(&metrics, &twin::slow(&[dump], &config).unwrap());
        }
    }
}

/// OpenShift has such names of servers. The encoder shortens them, and not the fold.
#[test]
fn names_of_2048_bytes_are_names() {
    let (proxy, server) = ("p".repeat(2040), "s".repeat(2048));
    let text = format!("{HEADER}\n{proxy},{server},5,,,,,2,\n");
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(damages, []);
    assert_eq!(metrics.get(&format!("{proxy}/{server} scur")), Some(&Value::Integer(5)));
}

/// HAProxy before 3.0 writes `last_chk` like this if an expected string has line ends.
#[test]
fn a_line_end_in_a_quoted_cell_costs_nothing() {
    let header = "# pxname,svname,scur,last_chk,type,";
    let cell = "\"TCPCHK did not match 'role:master\r\n\r\n\"\"x\"\"' at step 3\"";
    let text = format!("{header}\nbe,s1,7,{cell},2,\nbe,s2,8,,2,\nbe,BACKEND,15,,1,\n\n");
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(damages, []);
    let whole = |path: &str| metrics.get(path).copied();
    assert_eq!(whole("be/s1 scur"), Some(Value::Integer(7)));
    assert_eq!(whole("be/s2 scur"), Some(Value::Integer(8)));
    assert_eq!(whole("backend be TotalServers"), Some(Value::Integer(2)));

    let text = format!("{header}\nbe,s1,7,\"open,2,\nbe,s2,8,,2,\nbe,BACKEND,15,,1,\n\n");
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(metrics.get("be/s2 scur"), Some(&Value::Integer(8)));
    assert_eq!(damages[0].1, "1 rows left out, the first since a quote is not closed");
}

/// HAProxy 2.3.0 to 2.3.2 mixed up the rows of two clients: their cells are empty, `type` included.
#[test]
fn a_row_without_a_type_is_damaged_and_never_summed() {
    let rows = "be,BACKEND,,,,,,,\nbe,s1,,,,,,,\nfe,FRONTEND,9,,,,,x,\nbe,s1,3,,,,,2,\n";
    let (metrics, damages) = Snapshot::new().stat(format!("{HEADER}\n{rows}")).fold(&config());
    assert_eq!(metrics.get("be/s1 scur"), Some(&Value::Integer(3)));
    assert!(metrics.keys().all(|path| path.contains("s1") || path.contains("Total")));
    assert_eq!(damages[0].1, "3 rows left out, the first since its type is no number");
}

/// `bind … name FRONTEND` with `option socket-stats`, and unknown kinds of future rows.
#[test]
fn what_a_row_is_says_its_type() {
    let rows =
        "fe,FRONTEND,5,,,,,0,\nfe,FRONTEND,7,,,,,3,\nfe,BACKEND,7,,,,,3,\nfe,new,7,,,,,12,\n";
    let (metrics, damages) = Snapshot::new().stat(format!("{HEADER}\n{rows}")).fold(&config());
    assert_eq!(damages, []);
    assert_eq!(metrics.get("frontend fe scur"), Some(&Value::Integer(5)));
    assert!(metrics.keys().all(|path| path.starts_with("frontend fe ")), "{metrics:?}");
}

/// HAProxy 1.3 had no column `type`.
#[test]
fn without_the_column_type_the_svname_decides() {
    let text = "# pxname,svname,scur,\nw,FRONTEND,1,\nw,BACKEND,2,\nw,s1,3,\n\n";
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(damages, []);
    let whole = |path: &str| metrics.get(path).copied();
    assert_eq!(whole("frontend w scur"), Some(Value::Integer(1)));
    assert_eq!(whole("backend w scur"), Some(Value::Integer(2)));
    assert_eq!(whole("w/s1 scur"), Some(Value::Integer(3)));
}

#[test]
fn a_gauge_below_zero_is_no_value_and_a_counter_of_that_size_is_exact() {
    let row = format!("be,s,{0},{0},,,,2,\nbe,s,4294967290,5,,,,2,\n", u64::MAX);
    let text = format!("# pxname,svname,scur,stot,rtime,lbtot,weight,type,\n{row}");
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(damages, []);
    assert_eq!(metrics.get("be/s scur"), Some(&Value::Integer(4_294_967_290)));
    let exact = Value::Integer(i128::from(u64::MAX) + 5);
    assert_eq!(metrics.get("be/s stot"), Some(&exact));
}

#[test]
fn an_empty_line_before_the_header_is_harmless_and_no_rows_are_odd() {
    let text = format!("\n\r\n\n{HEADER}\nw,FRONTEND,1,,,,,0,\n\n");
    let snapshot = Snapshot::new().stat(text).stat(format!("{HEADER}\n\n"));
    let (metrics, damages) = snapshot.fold(&config());
    assert_eq!(damages, []);
    assert_eq!(metrics.get("frontend w scur"), Some(&Value::Integer(1)));
    assert_eq!(snapshot.oddities(&config()), [("admin2.sock".to_owned(), "no rows")]);
}

/// Two sockets of one process, known by their answers to `show info`, count once.
#[test]
fn two_sockets_of_one_process_count_once() {
    let info = "node: n\nPid: 7\nProcess_num: 1\nStart_time_sec: 9\nCumReq: 5\n\n";
    let stat = format!("{HEADER}\nw,FRONTEND,1,,,,,0,\n\n");
    let other = info.replace("Pid: 7", "Pid: 8");
    let snapshot = Snapshot::new()
        .both("admin.sock", info, &stat)
        .both("operator.sock", info, &stat)
        .both("other.sock", &other, &stat);
    let (metrics, damages) = snapshot.fold(&config());
    assert_eq!(damages, []);
    assert_eq!(metrics.get("daemon CumReq"), Some(&Value::Integer(10)));
    assert_eq!(metrics.get("frontend w scur"), Some(&Value::Integer(2)));
    let oddities = snapshot.oddities(&config());
    assert_eq!(oddities, [("operator.sock".to_owned(), "second socket")]);
}

/// The second socket counts if the first has no usable answer to `show stat`.
#[test]
fn a_second_socket_stands_in_for_the_first() {
    let info = "node: n\nPid: 7\nProcess_num: 1\nStart_time_sec: 9\nCumReq: 5\n\n";
    let stat = format!("{HEADER}\nw,FRONTEND,1,,,,,0,\n\n");
    let snapshot = Snapshot::new()
        .both("admin.sock", info, "Permission denied\n\n")
        .both("operator.sock", info, &stat)
        .both("third.sock", info, &stat);
    let (metrics, damages) = snapshot.fold(&config());
    assert_eq!(damages.len(), 1);
    assert_eq!(metrics.get("daemon CumReq"), Some(&Value::Integer(5)));
    assert_eq!(metrics.get("frontend w scur"), Some(&Value::Integer(1)));
}
