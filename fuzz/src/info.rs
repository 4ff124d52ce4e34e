//! `show info`: whatever a file holds, the fold does not panic, no two processes share a path, and
//! intact files keep their figures.

#![no_main]

#[path = "scratch.rs"]
mod scratch;

use std::collections::BTreeMap;

use config::Selection;
use fold::{Generation, Input, Tables};
use libfuzzer_sys::fuzz_target;
use model::{TableKind, Value};

const WHOLE: &str = "Name: HAProxy\nProcess_num: 1\nIdle_pct: 90\nCurrConns: 5\nMaxconn: 20\n\n";

fn config() -> config::Tables {
    config::Tables {
        frontend_metrics: Selection::Default,
        backend_metrics: Selection::Default,
        server_metrics: Selection::Default,
        daemon_metrics: Selection::All { except: Vec::new() },
        aggr_server_metrics: false,
        max_servers_per_backend: None,
        exclude_frontends: None,
        exclude_backends: None,
        per_process_metrics: true,
        calculate_percentages: true,
        server_states: false,
        hide_maint: false,
        file_limit: 1 << 20,
    }
}

fuzz_target!(|bytes: &[u8]| {
    // Two names with the same clean form, and one that looks like a process number.
    let files = [("a.b", bytes), ("a_b", bytes), ("7", WHOLE.as_bytes()), ("x", WHOLE.as_bytes())];
    let inputs = files.map(|(endpoint, bytes)| Input {
        generation: Generation::Current,
        by_master: false,
        endpoint: endpoint.to_owned(),
        info: Some(scratch::file(&format!("{endpoint}_info"), bytes)),
        stat: None,
    });
    let daemon = Tables::new(config()).daemon(&inputs).expect("the daemon folds");
    for damage in &daemon.damages {
        let of_ours = inputs[..2].iter().any(|input| input.info.as_ref() == Some(&damage.path));
        assert!(of_ours, "{}: {}", damage.path.display(), damage.reason);
    }
    let mut processes = BTreeMap::new();
    for table in daemon.tables.iter().filter(|table| table.kind == TableKind::Process) {
        for row in 0..table.names.len() {
            let name = table.names.label(row, 0).unwrap_or_default();
            let legal = |c: char| c.is_ascii_alphanumeric() || "_:-.".contains(c);
            assert!(!name.is_empty() && name.len() <= 20 && name.chars().all(legal), "{name:?}");
            let connections = table.columns.iter().find(|column| column.name == "CurrConns");
            let before = processes.insert(name, connections.and_then(|column| column.get(row)));
            assert!(before.is_none(), "{name} twice");
        }
    }
    // Both have process number 1, so they are named after their endpoints. A damaged file can have
    // the name 7: then it keeps the name, or a number is appended.
    let kept = processes.values().filter(|value| **value == Some(Value::Integer(5))).count();
    assert!(kept >= 2, "{processes:?}");
});
