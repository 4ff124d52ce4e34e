//! The public functions of the crate: files become typed values, faults, warnings and prints.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod defaults;
mod directories;
mod faults;
mod influxdb;
mod interpolation;
mod kafka;
mod print;
mod receivers;
mod values;
mod warnings;

use std::fs;

use haproxystats_config::{
    Config, Faults, Graphite, LocalStore, Process, ReceiverKind, Sources, load,
};
use tempfile::TempDir;

/// A temporary folder of files.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { dir }
    }

    /// Loads `c.conf`, and the folder `d` if it exists.
    fn load(&self) -> Result<Config, Faults> {
        let dir = Some(self.dir.path().join("d")).filter(|dir| dir.exists());
        load(&Sources { file: self.dir.path().join("c.conf"), dir })
    }

    /// The lines of a text, with paths relative to the folder.
    fn lines(&self, text: &impl ToString) -> Vec<String> {
        let prefix = format!("{}/", self.dir.path().display());
        text.to_string().replace(&prefix, "").lines().map(str::to_owned).collect()
    }
}

fn load_text(text: &str) -> Config {
    match Files::new(&[("c.conf", text)]).load() {
        Ok(config) => config,
        Err(faults) => panic!("{faults}\nin {text}"),
    }
}

/// The faults of `c.conf`.
fn faults_of(text: &str) -> Vec<String> {
    let files = Files::new(&[("c.conf", text)]);
    files.load().map_or_else(|faults| files.lines(&faults), |_| Vec::new())
}

fn graphites(process: &Process) -> Vec<&Graphite> {
    let mut found = Vec::new();
    for receiver in &process.receivers {
        if let ReceiverKind::Graphite(graphite) = &receiver.kind {
            found.push(graphite);
        }
    }
    found
}

fn local_stores(process: &Process) -> Vec<&LocalStore> {
    let mut found = Vec::new();
    for receiver in &process.receivers {
        if let ReceiverKind::LocalStore(store) = &receiver.kind {
            found.push(store);
        }
    }
    found
}
