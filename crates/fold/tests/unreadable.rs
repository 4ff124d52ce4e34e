//! A file that cannot be read now is not a damaged file. The test has its own process, because it
//! leaves that no descriptors.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::HashMap;
use std::fs;

use haproxystats_fold::{Error, Generation, Input, Tables};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_file_for_which_there_is_no_descriptor_is_to_be_read_later() {
    let folder = tempfile::tempdir().unwrap();
    let (info, stat) = (folder.path().join("a_info"), folder.path().join("a_stat"));
    fs::write(&info, "Process_num: 1\nIdle_pct: 97\n\n").unwrap();
    fs::write(&stat, "# pxname,svname,stot,type,\nwww,FRONTEND,1,0,\n\n").unwrap();
    let inputs = [Input {
        endpoint: "a".to_owned(),
        info: Some(info.clone()),
        stat: Some(stat.clone()),
        generation: Generation::Current,
        by_master: false,
    }];
    let config = config::Tables {
        frontend_metrics: config::Selection::Default,
        backend_metrics: config::Selection::Default,
        server_metrics: config::Selection::Default,
        daemon_metrics: config::Selection::Default,
        aggr_server_metrics: false,
        max_servers_per_backend: None,
        per_process_metrics: false,
        calculate_percentages: false,
        exclude_frontends: None,
        exclude_backends: None,
        server_states: false,
        hide_maint: false,
        file_limit: 1 << 20,
    };
    let mut tables = Tables::new(config);

    let none = HashMap::new();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    let (daemon, proxies) = (tables.daemon(&inputs), tables.read(&inputs, &none, &HashMap::new()));
    setrlimit(Resource::Nofile, before).unwrap();

    assert!(matches!(daemon, Err(Error::Unreadable { path, .. }) if path == info));
    assert!(matches!(proxies, Err(Error::Unreadable { path, .. }) if path == stat));
    assert!(tables.daemon(&inputs).unwrap().damages.is_empty());
    assert!(tables.read(&inputs, &none, &HashMap::new()).unwrap().damages.is_empty());
}
