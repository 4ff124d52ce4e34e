//! Damaged and partial answers to `show info`.

use model::Value;

use crate::workbench::{Snapshot, VERSIONS, everything, info_dump};

const GOOD: &str = "Name: HAProxy\nProcess_num: 1\nIdle_pct: 90\nCurrConns: 5\nMaxconn: 20\n\n";

#[test]
fn what_is_no_answer_is_left_out_and_told_and_the_rest_is_folded() {
    let (alone, _) = Snapshot::new().info(GOOD).fold(&everything());
    let no_answers: [(&[u8], &str); 9] = [
        (b"", "it is empty"),
        (b"\n\n", "it holds no figure of HAProxy's"),
        (b"Permission denied\n\n", "but \"Permission denied"),
        (b"Unknown command. Please enter one of\n\n", "but \"Unknown command."),
        (b"CurrConns: 1\0\n", "it holds NUL bytes"),
        (b"\xff\xfe\x01\n", "it holds no figure of HAProxy's"),
        (b"[6]: Permission denied\n\n", "but \"[6]: Permission denied"),
        (b"CurrConns: 1", "it holds no figure of HAProxy's but \"CurrConns: 1\""),
        (b"CurrConns:1\nMaxconn\n: 5\n", "it holds no figure of HAProxy's"),
    ];
    for (bad, why) in no_answers {
        let (metrics, damages) = Snapshot::new().info(GOOD).info(bad).fold(&everything());
        assert_eq!(metrics, alone, "{why}");
        let [(file, reason)] = &damages[..] else { panic!("{damages:?}") };
        assert!(file == "admin2.sock_info" && reason.contains(why), "{damages:?}");
        let (metrics, damages) = Snapshot::new().info(bad).info(bad).fold(&everything());
        assert!(metrics.is_empty(), "{metrics:?}");
        assert_eq!(damages.len(), 2);
    }
}

#[test]
fn a_key_that_one_or_all_lack_costs_itself() {
    let lacking = "Process_num: 2\nIdle_pct: 70\nCurrConns: 5\n\n";
    let (metrics, damages) = Snapshot::new().info(GOOD).info(lacking).fold(&everything());
    assert_eq!(damages, []);
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!(get("daemon Maxconn"), Some(Value::Integer(20)));
    assert_eq!(get("daemon ConnPercentage"), Some(Value::Integer(50)));
    assert_eq!(get("process 2 ConnPercentage"), None);
    assert_eq!(get("daemon Tasks"), None);
}

/// A figure beyond 64 bits is no number, so that no calculation with it overflows.
#[test]
fn figures_beyond_64_bits_are_none() {
    for figure in [i128::MIN.to_string(), i128::MAX.to_string(), "1".repeat(60), "+5".to_owned()] {
        let bad = format!("Process_num: 2\nIdle_pct: {figure}\nCurrConns: {figure}\nMaxconn: 1\n");
        let (metrics, damages) = Snapshot::new().info(GOOD).info(bad).fold(&everything());
        assert_eq!(damages[0].1, "no number: CurrConns, Idle_pct");
        assert_eq!(metrics.get("daemon CurrConns"), Some(&Value::Integer(5)));
        assert_eq!(metrics.get("process 2 CpuUsagePct"), None);
        assert_eq!(metrics.get("daemon Maxconn"), Some(&Value::Integer(21)));
    }
    for figure in [i64::MIN.to_string(), u64::MAX.to_string()] {
        let wide = format!("Idle_pct: {figure}\nCumConns: {figure}\nMaxconn: {figure}\n");
        let (metrics, damages) = Snapshot::new().info(&wide).info(&wide).fold(&everything());
        assert_eq!(damages, []);
        let double = 2 * figure.parse::<i128>().unwrap();
        assert_eq!(metrics.get("daemon CumConns"), Some(&Value::Integer(double)));
    }
}

/// No two processes share a path, whatever their names, even if `.` becomes `_`.
#[test]
fn processes_never_share_a_path() {
    let numbered = |number: &str| GOOD.replace("num: 1", &format!("num: {number}"));
    let snapshot = Snapshot::new()
        .info_of("a.b", numbered("1"))
        .info_of("a_b", numbered("1"))
        .info_of("2", numbered("1"))
        .info_of("c", numbered("2"))
        .info_of("d", numbered("../../x"))
        .info_of("e", numbered(&"7".repeat(1000)));
    let (metrics, _) = snapshot.fold(&everything());
    for name in ["a.b", "a_b_2", "2", "2_2", "d", "e"] {
        assert!(metrics.contains_key(&format!("process {name} CurrConns")), "{name}: {metrics:?}");
    }
    assert_eq!(metrics.get("daemon CurrConns"), Some(&Value::Integer(30)));
}

/// A file can be cut at any byte: its complete lines count.
#[test]
fn a_cut_answer_keeps_its_complete_lines() {
    for version in VERSIONS {
        let dump = info_dump(version);
        let (whole, _) = Snapshot::new().info(&dump).fold(&everything());
        for at in (0..dump.len()).step_by(dump.len() / 40 + 1) {
            let (metrics, damages) = Snapshot::new().info(&dump[..at]).fold(&everything());
            // A figure that is calculated from several others may lack one of them.
            for (path, value) in metrics.iter().filter(|(path, _)| !path.contains("process")) {
                assert_eq!(whole.get(path), Some(value), "{path}, cut at {at}");
            }
            let in_line = at == 0 || dump[at - 1] != b'\n';
            assert!(!in_line || damages.len() == 1, "cut at {at}: {damages:?}");
        }
    }
}

/// The mean of Idle_pct and the figures derived from it are from 0 to 100, for any input.
#[test]
fn a_cpu_usage_is_a_percentage() {
    let of = |number: u32, idle: &str| {
        GOOD.replace("num: 1", &format!("num: {number}")).replace("90", idle)
    };
    let snapshot = Snapshot::new()
        .info(of(1, "104"))
        .info(of(2, "-3"))
        .info(of(3, "4294967263"))
        .info(of(4, "60"));
    let (metrics, damages) = snapshot.fold(&everything());
    assert_eq!(damages, []);
    let usage = |number: u32| metrics.get(&format!("process {number} CpuUsagePct")).copied();
    let expected = [0, 100, 100, 40].map(|usage| Some(Value::Integer(usage)));
    assert_eq!([1, 2, 3, 4].map(usage), expected);
    assert_eq!(metrics.get("daemon Idle_pct"), Some(&Value::Mean { sum: 160, count: 4 }));
}
