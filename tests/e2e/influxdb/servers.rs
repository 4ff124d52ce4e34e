//! A real InfluxDB 1.x and a real VictoriaMetrics, and the points that they give back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Program, free_ports, wait_until};

/// The tags of a series.
pub(crate) type Tags = BTreeMap<String, String>;

/// A field of a point, as a server gives it back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// The measurement; empty if it is a part of the name.
    pub(crate) measurement: String,
    pub(crate) tags: Tags,
    pub(crate) seconds: u64,
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// A running influxd.
pub(crate) struct InfluxD {
    pub(crate) port: u16,
    program: Option<Program>,
    influxd: String,
    folder: PathBuf,
}

impl InfluxD {
    /// Starts it in `folder`; `http` has further options of its section.
    pub(crate) fn start(influxd: &str, folder: &Path, http: &str) -> Self {
        let [port, internal] = free_ports();
        let home = folder.join("influxd");
        let base = home.display();
        std::fs::create_dir_all(&home).unwrap();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{internal}\"\n\
             [meta]\ndir = \"{base}/meta\"\n[data]\ndir = \"{base}/data\"\n\
             wal-dir = \"{base}/wal\"\n[monitor]\nstore-enabled = false\n\
             [subscriber]\nenabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{http}\n"
        );
        std::fs::write(home.join("influxd.conf"), config).unwrap();
        let (influxd, folder) = (influxd.to_owned(), folder.to_owned());
        let mut server = Self { port, program: None, influxd, folder };
        server.come_up();
        server
    }

    /// Starts it again, on the same port and data.
    pub(crate) fn come_up(&mut self) {
        let config = self.folder.join("influxd/influxd.conf");
        let arguments = ["run".as_ref(), "-config".as_ref(), config.as_os_str()];
        let mut program = Program::start(&self.influxd, &arguments, &[], &self.folder, "influxd");
        let ping = format!("http://127.0.0.1:{}/ping", self.port);
        wait_until("InfluxDB's ping", || {
            assert!(program.runs(), "influxd has ended: {}", program.log());
            ureq::get(&ping).call().is_ok()
        });
        self.program = Some(program);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.as_ref().unwrap().signal(signal);
    }

    /// Ends it by SIGKILL.
    pub(crate) fn go_down(&mut self) {
        self.program = None;
    }

    /// Runs a statement; `None` while the server gives no answer.
    pub(crate) fn query(&self, database: &str, statement: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/query", self.port);
        let query = [("db", database), ("epoch", "s"), ("q", statement)];
        let request = ureq::post(&url).query_pairs(query);
        let request = request.config().timeout_global(Some(Duration::from_secs(10))).build();
        let answer = request.send_empty().ok()?.body_mut().read_to_vec().ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// Writes lines, with seconds.
    pub(crate) fn write(&self, database: &str, lines: &str) {
        let url = format!("http://127.0.0.1:{}/write?db={database}&precision=s", self.port);
        ureq::post(&url).send(lines).unwrap();
    }

    /// All fields of a database, but those of other tests' making.
    pub(crate) fn fields(&self, database: &str) -> Vec<Field> {
        let statement = "SELECT * FROM /.*/ GROUP BY *";
        let Some(answer) = self.query(database, statement) else { return Vec::new() };
        let mut fields = Vec::new();
        for series in answer["results"][0]["series"].as_array().into_iter().flatten() {
            let tags: Tags = serde_json::from_value(series["tags"].clone()).unwrap_or_default();
            let tags: Tags = tags.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let columns: Vec<String> = serde_json::from_value(series["columns"].clone()).unwrap();
            for row in series["values"].as_array().unwrap() {
                for (name, value) in columns.iter().zip(row.as_array().unwrap()).skip(1) {
                    if !value.is_null() {
                        fields.push(Field {
                            measurement: series["name"].as_str().unwrap().to_owned(),
                            tags: tags.clone(),
                            seconds: row[0].as_u64().unwrap(),
                            name: name.clone(),
                            value: value.clone(),
                        });
                    }
                }
            }
        }
        fields
    }

    /// The seconds of which a database has points of frontends.
    pub(crate) fn seconds(&self, database: &str) -> Vec<u64> {
        let statement = "SELECT stot FROM haproxy WHERE type = 'frontend' AND \
                         proxy = 'frontend_000_example_com'";
        let Some(answer) = self.query(database, statement) else { return Vec::new() };
        let rows = answer["results"][0]["series"][0]["values"].as_array().cloned();
        rows.unwrap_or_default().iter().map(|row| row[0].as_u64().unwrap()).collect()
    }
}

/// A running VictoriaMetrics.
pub(crate) struct Victoria {
    pub(crate) port: u16,
    _program: Program,
}

impl Victoria {
    pub(crate) fn start(victoria: &str, folder: &Path) -> Self {
        let [port] = free_ports();
        let data = format!("-storageDataPath={}", folder.join("victoria-data").display());
        let listen = format!("-httpListenAddr=127.0.0.1:{port}");
        // The snapshots of the tests are older than the month that it keeps by default.
        let options = ["-retentionPeriod=100y", "-search.latencyOffset=0s", "-loggerLevel=WARN"];
        let arguments: Vec<_> =
            [&*data, &*listen].into_iter().chain(options).map(AsRef::as_ref).collect();
        let mut program = Program::start(victoria, &arguments, &[], folder, "victoria");
        let ping = format!("http://127.0.0.1:{port}/ping");
        wait_until("VictoriaMetrics' ping", || {
            assert!(program.runs(), "victoria-metrics has ended: {}", program.log());
            ureq::get(&ping).call().is_ok()
        });
        Self { port, _program: program }
    }

    /// The fields whose tag `via` has this value. The measurement is a part of the name.
    pub(crate) fn fields(&self, via: &str) -> Vec<Field> {
        let url = format!("http://127.0.0.1:{}/api/v1/export", self.port);
        let selection = format!("{{via=\"{via}\"}}");
        let request = ureq::get(&url).query("match[]", &selection);
        let answer = request.call().unwrap().body_mut().read_to_string().unwrap();
        let mut fields = Vec::new();
        for line in answer.lines() {
            let series: Value = serde_json::from_str(line).unwrap();
            let mut tags: Tags = serde_json::from_value(series["metric"].clone()).unwrap();
            // VictoriaMetrics makes it of the database.
            tags.remove("db");
            let name = tags.remove("__name__").unwrap();
            let times = series["timestamps"].as_array().unwrap();
            for (time, value) in times.iter().zip(series["values"].as_array().unwrap()) {
                fields.push(Field {
                    measurement: String::new(),
                    tags: tags.clone(),
                    seconds: time.as_u64().unwrap() / 1000,
                    name: name.clone(),
                    value: value.clone(),
                });
            }
        }
        fields
    }
}
