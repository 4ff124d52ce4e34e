//! The folder of a test, with spool, configuration and logs; snapshots to publish, and the lines
//! that they must give.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use testbed::names;

use crate::sink::{Manner, Sink};
use crate::support::{PROCESS, PULL, Program, data, wait_until};

/// Files of four processes of HAProxy 1.8, whose lines the parity tests prove right.
const SNAPSHOT: &str = "parity/01-default/1700000000";

/// A test's own folder.
pub(crate) struct Scene {
    folder: TempDir,
}

impl Scene {
    /// A scene with an empty spool.
    pub(crate) fn new() -> Self {
        let scene = Self::without_spool();
        fs::create_dir(scene.incoming()).unwrap();
        scene
    }

    pub(crate) fn without_spool() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.path().join("incoming")
    }

    /// Writes a file into the folder, and makes its parents.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A configuration for haproxystats-process with quick retries. `options` come last in
    /// `[graphite]`, replace its defaults, and may begin further sections.
    pub(crate) fn config(&self, port: u16, workers: usize, options: &str) -> PathBuf {
        let mut graphite = BTreeMap::from([
            ("interval", "0.05"),
            ("backoff", "1"),
            ("delay", "0.2"),
            ("connect-timeout", "5"),
            ("write-timeout", "20"),
        ]);
        graphite.retain(|name, _| !options.contains(&format!("{name} =")));
        let defaults: String =
            graphite.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let text = format!(
            "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = {}\n\
             [process]\nsrc-dir = {}\nworkers = {workers}\n\
             [graphite]\nserver = 127.0.0.1\nport = {port}\n\
             namespace = e2e\nprefix-hostname = false\n{defaults}{options}\n",
            self.path().display(),
            self.incoming().display(),
        );
        self.write("haproxystats.conf", &text)
    }

    pub(crate) fn process(&self, config: &Path) -> Program {
        let arguments = ["-f".as_ref(), config.as_os_str()];
        Program::start(PROCESS, &arguments, &[], self.path(), "process")
    }

    /// Starts haproxystats-process in a mount namespace in which names are looked up in the file
    /// `hosts`. It ends at once where the machine does not allow that.
    pub(crate) fn process_with_hosts(&self, config: &Path, hosts: &Path) -> Program {
        let command = format!(
            "mount --bind {} /etc/hosts && exec {PROCESS} -f {}",
            hosts.display(),
            config.display()
        );
        let words = ["--mount", "--propagation", "private", "sh", "-c", &command];
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        Program::start("unshare", &words, &[], self.path(), "process")
    }

    pub(crate) fn pull(&self, config: &Path) -> Program {
        let arguments = ["-f".as_ref(), config.as_os_str()];
        Program::start(PULL, &arguments, &[], self.path(), "pull")
    }

    /// Puts a snapshot into the spool as pull does: staged beside it, then renamed.
    pub(crate) fn publish(&self, timestamp: u64) {
        let staged = self.path().join(format!("staged-{timestamp}"));
        copy_files(&data(SNAPSHOT), &staged);
        fs::rename(staged, self.incoming().join(timestamp.to_string())).unwrap();
    }

    /// Makes a snapshot's directory within the spool and fills it there, as `cp -r` does.
    pub(crate) fn create_in_place(&self, timestamp: u64) {
        copy_files(&data(SNAPSHOT), &self.incoming().join(timestamp.to_string()));
    }

    /// The entries of the spool.
    pub(crate) fn waiting(&self) -> BTreeSet<String> {
        names(&self.incoming()).into_iter().collect()
    }

    /// Batches in the outbox, as `<receiver>/<file>`, without the batches that are set aside.
    pub(crate) fn held(&self) -> BTreeSet<String> {
        let outbox = self.path().join("outbox");
        let of_folder = |folder: &String| {
            let names = visible(&outbox.join(folder)).into_iter();
            names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
        };
        visible(&outbox).iter().flat_map(of_folder).collect()
    }

    /// The number of batches in the outbox.
    pub(crate) fn stored(&self) -> usize {
        self.held().len()
    }

    /// Waits until the spool and the outbox are empty.
    pub(crate) fn wait_until_delivered(&self) {
        self.wait_for_empty_spool();
        wait_until("an empty outbox", || self.stored() == 0);
    }

    pub(crate) fn wait_for_empty_spool(&self) {
        wait_until("an empty spool", || self.waiting().is_empty());
    }
}

/// The names in a directory, hidden ones excluded.
pub(crate) fn visible(directory: &Path) -> BTreeSet<String> {
    names(directory).into_iter().filter(|name| !name.starts_with('.')).collect()
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The lines of the snapshot without their timestamp, from one run without faults.
pub(crate) fn reference() -> &'static BTreeSet<String> {
    static LINES: OnceLock<BTreeSet<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
        scene.publish(1_700_000_000);
        let process = scene.process(&scene.config(sink.port, 1, ""));
        scene.wait_for_empty_spool();
        process.finish();
        let mut arrived = sink.by_timestamp();
        let lines: BTreeSet<String> = arrived.remove(&1_700_000_000).unwrap().into_keys().collect();
        assert!(arrived.is_empty(), "lines with a timestamp of no snapshot: {arrived:?}");
        assert!(lines.len() > 500, "a snapshot of four processes gives only {} lines", lines.len());
        lines
    })
}

/// Every line of every snapshot came at least once, with its value; nothing else came.
pub(crate) fn assert_exact(sink: &Sink, timestamps: &[u64]) {
    let arrived = sink.by_timestamp();
    let expected: BTreeSet<u64> = timestamps.iter().copied().collect();
    assert_eq!(arrived.keys().copied().collect::<BTreeSet<u64>>(), expected, "snapshots");
    for (timestamp, lines) in arrived {
        let lines: BTreeSet<String> = lines.into_keys().collect();
        let missing: Vec<_> = reference().difference(&lines).take(3).collect();
        let extra: Vec<_> = lines.difference(reference()).take(3).collect();
        let (count, all) = (lines.len(), reference().len());
        assert!(missing.is_empty(), "missing from {timestamp} ({count} of {all}): {missing:?}");
        assert!(extra.is_empty(), "not expected in {timestamp}: {extra:?}");
    }
}
