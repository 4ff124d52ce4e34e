//! Answers to `show stat` that are none, or only in part.

use metric::Value;

use crate::twin;
use crate::workbench::{HEADER, Snapshot, VERSIONS, config, everything, stat_dump};

fn good() -> String {
    format!("{HEADER}\nfe,FRONTEND,1,x,,,,0,\nfe,FRONTEND,2,5,,,,0,\nbe,s1,1,2,3,4,5,2,\n\n")
}

/// What cannot be the beginning of an answer, with what is said of it.
const NO_ANSWERS: [(&[u8], &str); 9] = [
    (b"", "it is empty"),
    (b"\n", "it does not begin with HAProxy's header but with \"\""),
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
fn names_are_names_and_never_break_a_path() {
    let long = "n".repeat(200);
    let names = [
        ("NA", "NA"),
        ("null", "null"),
        ("nan", "nan"),
        ("123", "123"),
        ("www.example.com", "www_example_com"),
        (&long, &long),
        ("gr\u{fc}n\u{2028}", "gr_n_"),
        ("a b;c=d\te\u{7f}\0\u{1b}[0m\r", "a_b_c_d_e____0m_"),
        ("\"x,\"\"y\"\"\"", "x__y_"),
        ("../../etc", "______etc"),
    ];
    for (name, segment) in names {
        let rows =
            format!("{name},FRONTEND,1,,,,,0,\n{name},BACKEND,1,,,,,1,\n{name},{name},1,,,,,2,");
        let (metrics, damages) =
            Snapshot::new().stat(format!("{HEADER}\n{rows}\n")).fold(&everything());
        assert_eq!(damages, [], "{name:?}");
        for path in [
            format!("frontend {segment} scur"),
            format!("backend {segment} scur"),
            format!("{segment}/{segment} scur"),
            format!("server {segment} scur"),
        ] {
            assert_eq!(metrics.get(&path), Some(&Value::Integer(1)), "{path} in {metrics:?}");
        }
    }
}

#[test]
fn names_that_are_none_cost_their_row() {
    let long = "n".repeat(3000);
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

/// In a column that one hostile cell has split into halves, the others' values stay as they are.
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

/// The mean of values whose sum does not fit 64 bits is theirs.
#[test]
fn a_mean_of_large_values_does_not_overflow() {
    let row = format!("be,s,1,1,{0},1,{0},2,\n", i64::MAX);
    let text = format!("{HEADER}\n{}", row.repeat(4));
    let (metrics, _) = Snapshot::new().stat(&text).fold(&everything());
    twin::assert_same(&metrics, &twin::slow(&[text.as_bytes()], &everything()).unwrap());
}

/// At whatever byte a file is cut: the complete rows count, the cut one does not, and it is told.
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
