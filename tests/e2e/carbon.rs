//! A real carbon-cache with its own storage, and the values in its whisper files.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Program, free_ports, wait_until};

/// A running carbon-cache.
pub(crate) struct Carbon {
    pub(crate) port: u16,
    /// The port on which its cache answers graphite-web.
    pub(crate) query: u16,
    /// Its whisper files.
    pub(crate) storage: PathBuf,
    whisper_fetch: String,
    _program: Program,
}

impl Carbon {
    /// Starts it in `folder`, on free ports, with a point for every second.
    pub(crate) fn start(carbon_cache: &str, whisper_fetch: &str, folder: &Path) -> Self {
        let schemas = "[all]\npattern = .*\nretentions = 1s:30m\n";
        Self::start_with(carbon_cache, whisper_fetch, folder, schemas, "")
    }

    /// Starts it with the test's `storage-schemas.conf` and `storage-aggregation.conf`.
    pub(crate) fn start_with(
        carbon_cache: &str,
        whisper_fetch: &str,
        folder: &Path,
        schemas: &str,
        aggregation: &str,
    ) -> Self {
        let files = [("storage-schemas.conf", schemas), ("storage-aggregation.conf", aggregation)];
        Self::start_by(carbon_cache, whisper_fetch, folder, files, "ENABLE_TAGS = False\n")
    }

    /// Starts it so that it tells a graphite-web on this port the tags of each new series.
    pub(crate) fn start_for_tags(
        carbon_cache: &str,
        whisper_fetch: &str,
        folder: &Path,
        web_port: u16,
    ) -> Self {
        let schemas = "[all]\npattern = .*\nretentions = 1s:30m\n";
        let files = [("storage-schemas.conf", schemas), ("storage-aggregation.conf", "")];
        let options = format!(
            "ENABLE_TAGS = True\nGRAPHITE_URL = http://127.0.0.1:{web_port}\n\
             TAG_BATCH_SIZE = 1000\n"
        );
        Self::start_by(carbon_cache, whisper_fetch, folder, files, &options)
    }

    fn start_by(
        carbon_cache: &str,
        whisper_fetch: &str,
        folder: &Path,
        files: [(&str, &str); 2],
        options: &str,
    ) -> Self {
        let [line, pickle, query] = free_ports();
        let home = folder.join("carbon");
        let storage = home.join("whisper");
        std::fs::create_dir_all(&storage).unwrap();
        let base = home.display();
        let config = format!(
            "[cache]\nSTORAGE_DIR = {base}\nLOCAL_DATA_DIR = {base}/whisper\nCONF_DIR = {base}\n\
             LOG_DIR = {base}\nPID_DIR = {base}\nUSER =\nDATABASE = whisper\n\
             ENABLE_LOGROTATION = False\nENABLE_UDP_LISTENER = False\nMAX_CACHE_SIZE = inf\n\
             MAX_UPDATES_PER_SECOND = inf\nMAX_CREATES_PER_MINUTE = inf\n\
             LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {line}\n\
             PICKLE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = {pickle}\n\
             CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {query}\n{options}"
        );
        let config_path = home.join("carbon.conf");
        std::fs::write(&config_path, config).unwrap();
        for (name, text) in files {
            std::fs::write(home.join(name), text).unwrap();
        }

        let config = format!("--config={}", config_path.display());
        let pid_file = format!("--pidfile={base}/carbon.pid");
        let arguments = [&*config, &*pid_file, "--nodaemon", "start"].map(AsRef::as_ref);
        let mut program = Program::start(carbon_cache, &arguments, &[], folder, "carbon");
        wait_until("carbon's line receiver", || {
            assert!(program.runs(), "carbon-cache has ended: {}", program.output());
            TcpStream::connect(("127.0.0.1", line)).is_ok()
        });
        Self {
            port: line,
            query,
            storage,
            whisper_fetch: whisper_fetch.to_owned(),
            _program: program,
        }
    }

    /// The newest value of a metric; `None` while its file or a point in it is missing.
    pub(crate) fn last(&self, metric: &str) -> Option<f64> {
        let path = self.storage.join(metric.replace('.', "/")).with_extension("wsp");
        if !path.is_file() {
            return None;
        }
        let output = Command::new(&self.whisper_fetch)
            .args(["--json", "--drop=nulls"])
            .arg(&path)
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        answer["values"].as_array()?.iter().rev().find_map(Value::as_f64)
    }
}
