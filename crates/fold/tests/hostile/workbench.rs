//! A snapshot on disk for tests, with any kinds of files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use haproxystats_fold::{Damage, Generation, Input, Tables};
use model::Value;
use tempfile::TempDir;

use crate::twin;

pub(crate) const HEADER: &str = "# pxname,svname,scur,stot,rtime,lbtot,weight,type,";
pub(crate) const VERSIONS: [&str; 5] =
    ["haproxy-1.5.0", "haproxy-2.2.9", "haproxy-2.6.12", "haproxy-3.0.11", "haproxy-3.4.7"];

pub(crate) fn config() -> config::Tables {
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
        file_limit: 256 << 20,
    }
}

/// All metrics that can be configured.
pub(crate) fn everything() -> config::Tables {
    config::Tables {
        frontend_metrics: config::Selection::All { except: Vec::new() },
        backend_metrics: config::Selection::All { except: Vec::new() },
        server_metrics: config::Selection::All { except: Vec::new() },
        aggr_server_metrics: true,
        per_process_metrics: true,
        calculate_percentages: true,
        ..config()
    }
}

/// A real answer to `show stat`.
pub(crate) fn stat_dump(version: &str) -> Vec<u8> {
    fs::read(dump(version, "sock1.show_stat.txt")).unwrap()
}

/// A real answer to `show info`.
pub(crate) fn info_dump(version: &str) -> Vec<u8> {
    fs::read(dump(version, "sock1.show_info.txt")).unwrap()
}

fn dump(version: &str, file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    root.join("tests/data/dumps").join(version).join(file)
}

pub(crate) type Metrics = BTreeMap<String, Value<'static>>;

pub(crate) struct Snapshot {
    pub(crate) directory: TempDir,
    pub(crate) inputs: Vec<Input>,
}

impl Snapshot {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), inputs: Vec::new() }
    }

    pub(crate) fn of_stats(files: &[&[u8]]) -> Self {
        files.iter().fold(Self::new(), |snapshot, bytes| snapshot.stat(bytes))
    }

    pub(crate) fn stat(self, bytes: impl AsRef<[u8]>) -> Self {
        self.made_stat(|path| fs::write(path, bytes).unwrap())
    }

    pub(crate) fn info(self, bytes: impl AsRef<[u8]>) -> Self {
        let endpoint = format!("admin{}.sock", self.inputs.len() + 1);
        self.info_of(&endpoint, bytes)
    }

    pub(crate) fn info_of(mut self, endpoint: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.directory.path().join(format!("{endpoint}_info"));
        fs::write(&path, bytes).unwrap();
        self.inputs.push(Input {
            endpoint: endpoint.to_owned(),
            info: Some(path),
            stat: None,
            generation: Generation::Current,
            by_master: false,
        });
        self
    }

    /// Adds an endpoint whose stat file `make` makes, of any kind.
    pub(crate) fn made_stat(mut self, make: impl FnOnce(&Path)) -> Self {
        let endpoint = format!("admin{}.sock", self.inputs.len() + 1);
        let path = self.directory.path().join(format!("{endpoint}_stat"));
        make(&path);
        self.inputs.push(Input {
            endpoint,
            info: None,
            stat: Some(path),
            generation: Generation::Current,
            by_master: false,
        });
        self
    }

    pub(crate) fn both(self, endpoint: &str, info: &str, stat: &str) -> Self {
        let mut snapshot = self.info_of(endpoint, info);
        let path = snapshot.directory.path().join(format!("{endpoint}_stat"));
        fs::write(&path, stat).unwrap();
        if let Some(input) = snapshot.inputs.last_mut() {
            input.stat = Some(path);
        }
        snapshot
    }

    /// The oddities of both kinds of answers: endpoint or name, and kind of oddity.
    pub(crate) fn oddities(&self, config: &config::Tables) -> Vec<(String, &'static str)> {
        let mut tables = Tables::new(config.clone());
        let daemon = tables.daemon(&self.inputs).unwrap();
        let proxies = tables.read(&self.inputs, &daemon.doubles, &HashMap::new()).unwrap();
        let oddities = daemon.oddities.into_iter().chain(proxies.oddities);
        oddities.map(|oddity| (oddity.subject, oddity.state)).collect()
    }

    pub(crate) fn fold(&self, config: &config::Tables) -> (Metrics, Vec<(String, String)>) {
        self.fold_with(&mut Tables::new(config.clone()))
    }

    /// Every metric by its short path, and the damages by file name.
    pub(crate) fn fold_with(&self, tables: &mut Tables) -> (Metrics, Vec<(String, String)>) {
        let daemon = tables.daemon(&self.inputs).unwrap();
        let mut proxies = tables.read(&self.inputs, &daemon.doubles, &HashMap::new()).unwrap();
        let mut folded = daemon.tables;
        folded.push(tables.frontends(&mut proxies).unwrap());
        folded.push(tables.backends(&mut proxies).unwrap());
        folded.extend(tables.servers(&mut proxies).unwrap().tables);
        let damages = daemon.damages.into_iter().chain(proxies.damages);
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let damages = damages.map(|Damage { path, reason, .. }| (name(&path), reason)).collect();
        (twin::flat(&folded), damages)
    }
}
