//! A real graphite-web over carbon's files, with its own settings, database and port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

use crate::carbon::Carbon;
use crate::support::{Program, free_ports, wait_until};

/// A running graphite-web.
pub(crate) struct GraphiteWeb {
    pub(crate) port: u16,
    _program: Program,
}

impl GraphiteWeb {
    /// Starts it below `folder`, and waits until it answers.
    pub(crate) fn start(graphite_manage: &str, carbon: &Carbon, folder: &Path) -> Self {
        let [port] = free_ports();
        Self::start_on(port, graphite_manage, carbon, folder)
    }

    /// Starts it on a port of the test's choice.
    pub(crate) fn start_on(
        port: u16,
        graphite_manage: &str,
        carbon: &Carbon,
        folder: &Path,
    ) -> Self {
        let home = folder.join("graphite-web");
        std::fs::create_dir_all(home.join("log")).unwrap();
        // No cache, because a repeated query wants new points.
        let settings = format!(
            "SECRET_KEY = 'of a test'\nALLOWED_HOSTS = ['127.0.0.1']\nTIME_ZONE = 'UTC'\n\
             CONF_DIR = STORAGE_DIR = '{home}'\nLOG_DIR = '{home}/log'\n\
             INDEX_FILE = '{home}/index'\nWHISPER_DIR = '{storage}'\n\
             STANDARD_DIRS = [WHISPER_DIR]\nCARBONLINK_HOSTS = ['127.0.0.1:{query}']\n\
             FIND_CACHE_DURATION = 0\nDEFAULT_CACHE_DURATION = 0\n\
             DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3',\n\
             \x20   'NAME': '{home}/graphite.db', 'OPTIONS': {{'timeout': 60}}}}}}\n",
            home = home.display(),
            storage = carbon.storage.display(),
            query = carbon.query,
        );
        std::fs::write(home.join("settings_of_a_test.py"), settings).unwrap();
        let environment = [
            ("GRAPHITE_SETTINGS_MODULE", "settings_of_a_test".as_ref()),
            ("PYTHONPATH", home.as_os_str()),
            ("PYTHONDONTWRITEBYTECODE", "1".as_ref()),
        ];
        let migrate = ["migrate", "--run-syncdb"].map(AsRef::as_ref);
        let mut migration =
            Program::start(graphite_manage, &migrate, &environment, folder, "migrate");
        assert_eq!(migration.wait().code(), Some(0), "graphite-web's database");

        let address = format!("127.0.0.1:{port}");
        let serve = ["runserver", "--noreload", &*address].map(AsRef::as_ref);
        let mut program =
            Program::start(graphite_manage, &serve, &environment, folder, "graphite-web");
        wait_until("graphite-web", || {
            assert!(program.runs(), "graphite-web has ended: {}", program.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { port, _program: program }
    }

    /// Requests a path with its query; returns the status and the body.
    pub(crate) fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"))
    }

    /// Sends a form.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let form = form.join("&");
        self.ask(&format!(
            "POST {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        ))
    }

    fn ask(&self, request: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_off(end + 4))
    }

    /// The JSON of an answer with status 200.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// The points of a target, queried as Grafana does; an error if it has none.
    pub(crate) fn points(&self, target: &str) -> Result<Vec<f64>, String> {
        let fields = [
            ("target", target),
            ("from", "-5min"),
            ("until", "now"),
            ("format", "json"),
            ("maxDataPoints", "400"),
        ];
        let (status, body) = self.post("/render", &fields);
        if status != 200 {
            return Err(format!("status {status}"));
        }
        let series: Value = serde_json::from_slice(&body).unwrap();
        let points = series.as_array().unwrap().iter().flat_map(|one| {
            let points = one["datapoints"].as_array().unwrap().iter();
            points.filter_map(|point| point[0].as_f64())
        });
        let points: Vec<f64> = points.collect();
        if points.is_empty() { Err("no point".to_owned()) } else { Ok(points) }
    }
}

/// Escapes a text for a form or a query.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).into(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
