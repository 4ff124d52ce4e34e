//! From files to tables, as the fold child calls it: sound and damaged files.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use haproxystats_fold::{Damage, Generation, Input, Tables};
use model::catalog::{Choice, Fold, ProxyKind};
use model::{Table, TableKind, Value};

use tempfile::TempDir;

const HEADER: &str = "# pxname,svname,scur,stot,rtime,lbtot,weight,type,";

fn config() -> config::Tables {
    config::Tables {
        frontend_metrics: config::Selection::Default,
        backend_metrics: config::Selection::Default,
        server_metrics: config::Selection::Default,
        daemon_metrics: config::Selection::Default,
        aggr_server_metrics: false,
        max_servers_per_backend: None,
        exclude_frontends: None,
        exclude_backends: None,
        per_process_metrics: false,
        calculate_percentages: false,
        server_states: false,
        hide_maint: false,
        file_limit: 1 << 20,
    }
}

struct Snapshot {
    directory: TempDir,
    inputs: Vec<Input>,
}

impl Snapshot {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), inputs: Vec::new() }
    }

    fn stat(self, text: impl AsRef<[u8]>) -> Self {
        self.add(None, Some(text.as_ref()))
    }

    fn info(self, text: impl AsRef<[u8]>) -> Self {
        self.add(Some(text.as_ref()), None)
    }

    fn add(mut self, info: Option<&[u8]>, stat: Option<&[u8]>) -> Self {
        let endpoint = format!("admin{}.sock", self.inputs.len() + 1);
        let write = |suffix: &str, bytes: &[u8]| {
            let path = self.directory.path().join(format!("{endpoint}{suffix}"));
            fs::write(&path, bytes).unwrap();
            path
        };
        let info = info.map(|bytes| write("_info", bytes));
        let stat = stat.map(|bytes| write("_stat", bytes));
        self.inputs.push(Input {
            endpoint,
            info,
            stat,
            generation: Generation::Current,
            by_master: false,
        });
        self
    }

    /// Every metric by its short path, and the damages by file name.
    fn fold(&self, config: config::Tables) -> (Metrics, Vec<(String, String)>) {
        let mut tables = Tables::new(config);
        let daemon = tables.daemon(&self.inputs).unwrap();
        let mut proxies = tables.read(&self.inputs, &daemon.doubles, &HashMap::new()).unwrap();
        let mut folded = daemon.tables;
        folded.push(tables.frontends(&mut proxies).unwrap());
        folded.push(tables.backends(&mut proxies).unwrap());
        folded.extend(tables.servers(&mut proxies).unwrap().tables);
        let damages = daemon.damages.into_iter().chain(proxies.damages);
        (flat(&folded), damages.map(|Damage { path, reason, .. }| (name(&path), reason)).collect())
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

type Metrics = BTreeMap<String, Value<'static>>;

fn flat(tables: &[Table]) -> Metrics {
    let mut metrics = BTreeMap::new();
    for table in tables {
        for row in 0..table.names.len() {
            let name = table.names.row(row).collect::<Vec<_>>().join("/");
            let of = match table.kind {
                TableKind::Daemon => "daemon".to_owned(),
                TableKind::Process => format!("process {name}"),
                TableKind::Frontend => format!("frontend {name}"),
                TableKind::Backend | TableKind::ServerCount => format!("backend {name}"),
                TableKind::BackendServer => name,
                TableKind::Server => format!("server {name}"),
                TableKind::Own => "own".to_owned(),
                TableKind::Other(_) => "other".to_owned(),
            };
            for column in &table.columns {
                let Some(value) = column.get(row).map(owned) else { continue };
                let before = metrics.insert(format!("{of} {}", column.name), value);
                assert!(before.is_none(), "{of} {} twice", column.name);
            }
        }
    }
    metrics
}

fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Integer(value) => Value::Integer(value),
        Value::Mean { sum, count } => Value::Mean { sum, count },
        Value::Decimal(value) => Value::Decimal(value),
        other => panic!("nothing folds to {other:?}"),
    }
}

fn integer(value: i128) -> Option<Value<'static>> {
    Some(Value::Integer(value))
}

fn mean(sum: i128, count: u32) -> Option<Value<'static>> {
    Some(Value::Mean { sum, count })
}

/// A worker from before a reload: its limits are those of that moment, its sockets are gone.
#[test]
fn an_old_worker_adds_counters_and_no_limits() {
    let info = |pid: u32, requests: u32, maxconn: u32, idle: u32| {
        format!(
            "Process_num: 1\nPid: {pid}\nnode: lb1\nStart_time_sec: 17{pid}\nMaxconn: {maxconn}\n\
             CumReq: {requests}\nCurrConns: 1\nIdle_pct: {idle}\nUptime_sec: 5\n\n"
        )
    };
    let stat = format!("{HEADER}\nweb,FRONTEND,3,7,,,,0,\n\n");
    let mut snapshot = Snapshot::new()
        .add(Some(info(12, 10, 2000, 90).as_bytes()), Some(stat.as_bytes()))
        .add(Some(info(11, 5, 1000, 10).as_bytes()), Some(stat.as_bytes()))
        .add(Some(info(12, 10, 2000, 90).as_bytes()), Some(stat.as_bytes()));
    snapshot.inputs[1].generation = Generation::Old;
    snapshot.inputs[1].by_master = true;
    // The current one through the master too, listed before its own socket.
    snapshot.inputs[2].by_master = true;
    snapshot.inputs.rotate_right(1);
    let per_process = config::Tables { per_process_metrics: true, ..config() };
    let (metrics, damages) = snapshot.fold(per_process.clone());
    assert_eq!(damages, []);
    let of = |metrics: &Metrics, path: &str| metrics.get(path).cloned();
    let whole = |number| Some(Value::Integer(number));
    for (path, sum) in [
        ("daemon CumReq", 15),
        ("daemon CurrConns", 2),
        ("daemon Maxconn", 2000),
        ("frontend web scur", 6),
        ("frontend web stot", 14),
        ("process 1 CumReq", 10),
    ] {
        assert_eq!(of(&metrics, path), whole(sum), "{path}: {metrics:?}");
    }
    let is_mean = |path: &str, (sum, count)| {
        assert_eq!(of(&metrics, path), Some(Value::Mean { sum, count }), "{path}");
    };
    is_mean("daemon Idle_pct", (90, 1));
    is_mean("daemon Uptime_sec", (5, 1));
    let processes: Vec<_> = metrics.keys().filter(|path| path.starts_with("process ")).collect();
    assert!(processes.iter().all(|path| path.starts_with("process 1 ")), "{processes:?}");
    let daemon = Tables::new(per_process).daemon(&snapshot.inputs).unwrap();
    assert_eq!(daemon.oddities, []);
    assert_eq!(daemon.doubles["admin3.sock"], "admin1.sock", "its own socket counts");
    // Without any current worker the old ones are all that there is.
    snapshot.inputs.retain(|input| input.generation == Generation::Old);
    assert_eq!(of(&snapshot.fold(config()).0, "daemon Maxconn"), whole(1000));
}

#[test]
fn servers_fold_by_backend_and_name_over_processes() {
    let (metrics, damages) = Snapshot::new()
        .stat(format!(
            "{HEADER}\nbe,s1,1,10,5,2,100,2,\nbe,s2,,3,9,0,,2,\nbe,BACKEND,1,13,5,2,50,1,\n\n"
        ))
        .stat(format!(
            "{HEADER}\nbe,s1,2,20,7,1,50,2,\nbe,s2,1,4,8,0,1,2,\nbe,BACKEND,3,24,7,1,51,1,\n\n"
        ))
        .fold(config());
    assert_eq!(damages, []);
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!((get("be/s1 scur"), get("be/s1 stot")), (integer(3), integer(30)));
    assert_eq!((get("be/s1 rtime"), get("be/s1 weight")), (mean(12, 2), mean(150, 2)));
    assert_eq!(get("be/s2 weight"), mean(1, 2), "an empty cell is 0 in a mean");
    assert_eq!(get("be/s2 rtime"), None, "a mean over no rows is no metric");
    assert_eq!(
        (get("backend be TotalServers"), get("backend be weight")),
        (integer(2), mean(101, 2))
    );
    assert_eq!(get("be/s1 bin"), None, "a column that no file has");
}

#[test]
fn servers_fold_over_all_backends_by_the_default_list_and_over_excluded_ones_too() {
    let exclude = tempfile::NamedTempFile::new().unwrap();
    fs::write(&exclude, "a.x\n").unwrap();
    let config = config::Tables {
        aggr_server_metrics: true,
        server_metrics: config::Selection::Named(vec!["scur".into()]),
        exclude_backends: Some(exclude.path().to_owned()),
        ..config()
    };
    let text =
        format!("{HEADER}\na_x,s,1,10,4,1,10,2,\nb,s,2,20,8,1,20,2,\na_x,BACKEND,1,1,1,1,1,1,\n\n");
    let (metrics, _) = Snapshot::new().stat(text).fold(config);
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!((get("server s stot"), get("server s rtime")), (integer(30), mean(12, 2)));
    assert_eq!((get("b/s scur"), get("b/s stot")), (integer(2), None));
    assert_eq!((get("b/s weight"), get("a_x/s scur")), (mean(20, 1), None));
    assert!(metrics.keys().all(|path| !path.starts_with("backend a_x")));
}

#[test]
fn a_backend_above_its_bound_keeps_everything_but_its_servers() {
    let exclude = tempfile::NamedTempFile::new().unwrap();
    fs::write(exclude.path(), "hidden\n").unwrap();
    let config = config::Tables {
        aggr_server_metrics: true,
        max_servers_per_backend: Some(2),
        exclude_backends: Some(exclude.path().to_owned()),
        ..config()
    };
    // Over both processes `pool` has three servers, and each process has only two of them.
    let backend = "pool,BACKEND,9,9,1,9,1,1,\n";
    let one = format!("{HEADER}\npool,s1,1,1,1,1,1,2,\npool,s2,2,2,1,1,1,2,\n{backend}\n");
    let other = format!(
        "{HEADER}\npool,s2,4,4,1,1,1,2,\npool,s3,8,8,1,1,1,2,\n{backend}small,s1,16,16,1,1,1,2,\n\
         small,s2,1,1,1,1,1,2,\nhidden,a,1,1,1,1,1,2,\nhidden,b,1,1,1,1,1,2,\n\
         hidden,c,1,1,1,1,1,2,\n\n"
    );
    let snapshot = Snapshot::new().stat(one).stat(other);
    let (bounded, damages) = snapshot.fold(config.clone());
    assert_eq!(damages, []);
    let unbounded = config::Tables { max_servers_per_backend: None, ..config.clone() };
    let (mut expected, _) = snapshot.fold(unbounded);
    assert_eq!(expected.get("backend pool TotalServers"), Some(&Value::Integer(3)));
    assert_eq!(expected.get("server s2 scur"), Some(&Value::Integer(7)));
    assert!(expected.contains_key("pool/s3 scur") && expected.contains_key("small/s1 scur"));
    expected.retain(|path, _| !path.starts_with("pool/"));
    assert_eq!(bounded, expected);

    let mut tables = Tables::new(config);
    let mut proxies = tables.read(&snapshot.inputs, &HashMap::new(), &HashMap::new()).unwrap();
    let servers = tables.servers(&mut proxies).unwrap();
    assert_eq!(servers.left_out, Some(3));
    let findings: Vec<_> =
        servers.oddities.iter().map(|it| (it.subject.as_str(), it.state)).collect();
    // The servers of an excluded backend are left out anyway.
    assert_eq!(findings, [("pool", "too many servers")]);
}

#[test]
fn names_that_look_like_numbers_or_nothing_are_names() {
    let text = format!(
        "{HEADER}\nNA,null,1,1,1,1,1,2,\nnan,123,1,1,1,1,1,2,\nFRONTEND,BACKEND,2,2,2,2,2,2,\n\n"
    );
    let (metrics, damages) = Snapshot::new().stat(text).fold(config());
    assert_eq!(damages, []);
    for path in ["NA/null scur", "nan/123 scur", "FRONTEND/BACKEND scur", "backend NA TotalServers"]
    {
        assert!(metrics.contains_key(path), "{path}");
    }
}

#[test]
fn sums_are_exact_where_64_bits_do_not_reach() {
    let row = |value: u64| format!("{HEADER}\nfe,FRONTEND,{value},{value},,,,0,\n\n");
    let (metrics, _) =
        Snapshot::new().stat(row(u64::MAX)).stat(row(u64::MAX)).stat(row(1)).fold(config());
    let expected = 2 * i128::from(u64::MAX) + 1;
    assert_eq!(metrics.get("frontend fe stot"), Some(&Value::Integer(expected)));

    let (metrics, _) = Snapshot::new().stat(row(1 << 62)).stat(row(1 << 62)).fold(config());
    assert_eq!(metrics.get("frontend fe stot"), Some(&Value::Integer(1 << 63)));
}

#[test]
fn a_damaged_row_or_cell_costs_itself() {
    let text = format!(
        "{HEADER}\n\
         fe,FRONTEND,1,x,,,,0,\n\
         fe,FRONTEND,2,5,,,,0,\n\
         bad,FRONTEND,2,5,,,,0,,,\n\
         bad,FRONTEND,\"2,5,,,,0,\n\
         ,FRONTEND,2,5,,,,0,\n\
         cut,FRONTEND,2"
    );
    let (metrics, damages) = Snapshot::new().stat(text).fold(config());
    assert_eq!(metrics.get("frontend fe scur").copied(), integer(3));
    assert_eq!(metrics.get("frontend fe stot").copied(), integer(5));
    assert!(metrics.keys().all(|path| path.starts_with("frontend fe ")), "{metrics:?}");
    let [(file, reason)] = &damages[..] else { panic!("{damages:?}") };
    assert_eq!(file, "admin1.sock_stat");
    assert_eq!(
        reason,
        "4 rows left out, the first since it has 10 cells and the header 8; 1 cells are no \
         numbers, the first: stot is \"x\""
    );
}

#[test]
fn a_sum_over_nothing_is_no_metric() {
    let text = format!("{HEADER}\nfe,FRONTEND,1,x,,,,0,\n\n");
    let (metrics, _) = Snapshot::new().stat(text).fold(config());
    assert_eq!(metrics.get("frontend fe stot"), None);
    assert_eq!(metrics.get("frontend fe scur").copied(), integer(1));
}

#[test]
fn a_damaged_file_is_left_out_and_the_rest_folded() {
    let good = format!("{HEADER}\nfe,FRONTEND,1,1,,,,0,\n\n");
    for (bad, why) in [
        (&b""[..], "left out: it is empty"),
        (
            b"Permission denied\n\n",
            "left out: it does not begin with HAProxy's header but with \"Permission denied\"",
        ),
        (
            b"\x00\xff\x00\n",
            "left out: it does not begin with HAProxy's header but with \"\\0\u{fffd}\\0\"",
        ),
        (b"# pxname,svname,scu", "left out: it is cut in its header"),
    ] {
        let (metrics, damages) = Snapshot::new().stat(bad).stat(&good).fold(config());
        assert_eq!(metrics.get("frontend fe scur").copied(), integer(1));
        assert_eq!(damages, [("admin1.sock_stat".to_owned(), why.to_owned())]);
    }
}

#[test]
fn a_file_that_is_too_large_or_not_there_is_told_by_name() {
    let mut snapshot = Snapshot::new().stat(vec![b'x'; 2 << 20]);
    let gone = snapshot.directory.path().join("gone_stat");
    snapshot.inputs.push(Input {
        endpoint: "gone".into(),
        info: None,
        stat: Some(gone),
        generation: Generation::Current,
        by_master: false,
    });
    let (metrics, damages) = snapshot.fold(config());
    assert!(metrics.is_empty());
    assert!(damages[0].1.contains("more than file-limit = 1048576 allows"), "{damages:?}");
    assert!(damages[1].0 == "gone_stat" && damages[1].1.contains("cannot be read"), "{damages:?}");
}

#[test]
fn columns_may_differ_between_processes() {
    let (metrics, damages) = Snapshot::new()
        .stat("# pxname,svname,scur,lbtot,weight,type,\nbe,BACKEND,1,1,10,1,\n\n")
        .stat("# pxname,svname,type,new,scur,-,stot,\nbe,BACKEND,1,7,2,-,5,\n\n")
        .fold(config());
    assert_eq!(damages, []);
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!((get("backend be scur"), get("backend be stot")), (integer(3), integer(5)));
    assert_eq!(get("backend be weight"), mean(10, 1), "rows without the column do not count");
}

#[test]
fn without_lbtot_no_row_is_known_to_have_had_traffic() {
    let text = "# pxname,svname,scur,rtime,type,\nbe,s,1,5,2,\n\n";
    let (metrics, damages) = Snapshot::new().stat(text).fold(config());
    assert_eq!(damages, []);
    assert_eq!(metrics.get("be/s scur").copied(), integer(1));
    assert_eq!(metrics.get("be/s rtime"), None);
}

fn process(number: u32, idle: u32) -> String {
    format!(
        "Name: HAProxy\nProcess_num: {number}\nUnstoppable Jobs: 1\nUptime: 0d 1:02\nCurrConns: 5\n\
         Maxconn: 20\nIdle_pct: {idle}\nConnRate: 7\nConnRateLimit: 0\n\n"
    )
}

#[test]
fn processes_fold_to_sums_means_and_statistics_of_their_cpu_usage() {
    let mut snapshot = Snapshot::new();
    for (number, idle) in [(1, 90), (2, 70), (3, 100), (4, 20)] {
        snapshot = snapshot.info(process(number, idle));
    }
    let (metrics, damages) =
        snapshot.fold(config::Tables { calculate_percentages: true, ..config() });
    assert_eq!(damages, []);
    let get = |path: &str| metrics.get(&format!("daemon {path}")).copied();
    assert_eq!((get("CurrConns"), get("Idle_pct")), (integer(20), mean(280, 4)));
    // Sorted usage: 0, 10, 30, 80; indices 0.75, 1.5, 2.25, 2.85, 2.97, rounded half to even.
    let percentiles: Vec<_> =
        [25, 50, 75, 95, 99].map(|q| get(&format!("{q}PercentileCpuUsagePct"))).into();
    assert_eq!(percentiles, [integer(10), integer(30), integer(30), integer(80), integer(80)]);
    let Some(Value::Decimal(deviation)) = get("StdCpuUsagePct") else { panic!() };
    assert!((deviation - 35.590_260_840_104_37).abs() < 1e-12, "{deviation}");
    assert_eq!((get("ConnPercentage"), get("ConnRatePercentage")), (integer(25), integer(0)));
    assert_eq!((get("SslConnPercentage"), get("Tasks")), (None, None), "no process has these keys");
}

#[test]
fn one_process_has_no_statistics_over_processes() {
    let (metrics, _) = Snapshot::new().info(process(1, 90)).fold(config());
    assert!(metrics.keys().all(|path| !path.contains("CpuUsagePct")), "{metrics:?}");
}

#[test]
fn each_process_by_its_number_or_by_its_endpoint_where_two_bear_one() {
    let snapshot = Snapshot::new().info(process(1, 90)).info(process(1, 80)).info(process(2, 70));
    let wanted =
        config::Tables { per_process_metrics: true, calculate_percentages: true, ..config() };
    let (metrics, _) = snapshot.fold(wanted);
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!(get("process admin1.sock CpuUsagePct"), integer(10));
    assert_eq!(get("process admin2.sock Idle_pct"), mean(80, 1));
    assert_eq!(get("process 2 ConnPercentage"), integer(25));
    assert_eq!(get("process 1 CurrConns"), None);
}

#[test]
fn damaged_figures_cost_themselves() {
    let (metrics, damages) = Snapshot::new()
        .info("Name: HAProxy\nCurrConns: many\nTasks: 3\nMaxconn: 2")
        .info("Unknown command. Please enter one of the following commands only :\n\n")
        .info(b"Tasks: 1\nName: \0\n")
        .info("Tasks: 4\nCurrConns: 1\n\n")
        .fold(config());
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!((get("daemon Tasks"), get("daemon CurrConns")), (integer(7), integer(1)));
    assert_eq!(get("daemon Maxconn"), None, "a line without its end may be cut in its number");
    let files: Vec<_> = damages.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(files, ["admin1.sock_info", "admin2.sock_info", "admin3.sock_info"]);
    assert_eq!(damages[0].1, "no number: CurrConns, its last line, which is cut");
}

/// Over all backends the default sums are sums, whatever the metrics of servers in their backends.
#[test]
fn servers_over_all_backends_are_summed_where_all_is_asked_too() {
    let config = config::Tables {
        aggr_server_metrics: true,
        server_metrics: config::Selection::All { except: Vec::new() },
        ..config()
    };
    let text = "# pxname,svname,smax,qtime,lbtot,type,\na,s,3,1,1,2,\nb,s,4,2,1,2,\n\n";
    let (metrics, _) = Snapshot::new().stat(text).stat(text).fold(config);
    let get = |path: &str| metrics.get(path).copied();
    assert_eq!((get("server s smax"), get("a/s smax")), (integer(14), integer(3)));
    assert_eq!(get("server s qtime"), mean(6, 4));
}

/// Servers are read once for both plans: if the plans fold a field differently, both folds must use
/// the same rows.
#[test]
fn plans_differ_only_between_sum_and_largest() {
    let default = ProxyKind::Server.plan(Choice::Default);
    for (name, fold) in ProxyKind::Server.plan(Choice::All) {
        let other =
            default.iter().find(|(field, _)| *field == name).map_or(fold, |(_, fold)| *fold);
        let same_rows = [Fold::Sum, Fold::Largest];
        assert!(
            fold == other || (same_rows.contains(&fold) && same_rows.contains(&other)),
            "{name}: {fold:?} and {other:?}"
        );
    }
}
