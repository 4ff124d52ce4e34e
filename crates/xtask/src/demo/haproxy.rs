//! The source of the demo's statistics: four HAProxy processes with a little traffic, or recorded
//! dumps.
//!
//! HAProxy has no `nbproc` since 2.5, so one configuration is started four times: the frontends
//! share their ports by SO_REUSEPORT, and each process has a stats socket of its own, as with
//! `nbproc 4`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use testbed::{free_ports, wait_until};

use super::Folder;
use super::child::Child;
use crate::{Failure, root};

const PROCESSES: usize = 4;

/// The programs that pull asks, with stats sockets in the demo's folder.
pub(crate) struct Source {
    /// A sentence for the terminal.
    pub(crate) description: String,
    pub(crate) children: Vec<Child>,
    /// Dropping it ends the requests.
    pub(crate) traffic: Option<Traffic>,
}

/// Starts four HAProxy processes and sends requests through them.
pub(crate) fn start(program: &Path, folder: &Folder) -> Result<Source, Failure> {
    let ports: [u16; 3] = free_ports().map_err(|error| format!("no free port: {error}"))?;
    let config = root().join("examples/haproxy.cfg");
    let mut children = Vec::new();
    for number in 1..=PROCESSES {
        let socket = folder.sockets().join(format!("admin{number}.sock"));
        let [www, shop, origin] = ports.map(|port| OsString::from(port.to_string()));
        let environment = [
            ("STATS_SOCKET", socket.as_os_str()),
            ("WWW_PORT", &www),
            ("SHOP_PORT", &shop),
            ("ORIGIN_PORT", &origin),
        ];
        let log = folder.log(&format!("haproxy{number}.log"));
        let arguments = ["-db", "-f", &config.to_string_lossy()];
        let mut child = Child::start(program, &arguments, &environment, &log)?;
        if !wait_until(Duration::from_secs(10), || socket.exists() || child.check().is_err()) {
            return Err(format!("haproxy did not make its stats socket\n{}", child.tail()));
        }
        child.check()?;
        children.push(child);
    }
    let [www, shop, _] = ports;
    Ok(Source {
        description: format!(
            "{PROCESSES} processes of {} serve 127.0.0.1:{www} and 127.0.0.1:{shop}; \
             the demo sends them requests.",
            program.display()
        ),
        children,
        traffic: Some(Traffic::start(www, shop)),
    })
}

/// Starts the example that serves recorded dumps.
pub(crate) fn start_dumps(programs: &Path, folder: &Folder) -> Result<Source, Failure> {
    let dumps = root().join("tests/data/dumps/haproxy-2.2.9");
    let child = Child::start(
        &programs.join("examples/fake_haproxy"),
        &[&dumps.to_string_lossy(), &folder.sockets().to_string_lossy()],
        &[],
        &folder.log("fake_haproxy.log"),
    )?;
    Ok(Source {
        description: "Recorded dumps of HAProxy 2.2 with four processes; their counters are made \
                      to grow."
            .to_owned(),
        children: vec![child],
        traffic: None,
    })
}

/// A thread that sends requests until it is dropped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start(www: u16, shop: u16) -> Self {
        // Mostly good requests; some for pages that are missing, broken or forbidden, or that a
        // backend without a server should serve.
        let requests = [
            (www, "/"),
            (www, "/api/items"),
            (shop, "/cart"),
            (www, "/index"),
            (www, "/missing"),
            (shop, "/"),
            (www, "/api/broken"),
            (shop, "/cart/2"),
            (www, "/down"),
            (shop, "/admin"),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for (port, path) in requests.into_iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // The table shows a request that fails, because the counters do not grow.
                let _ = request(port, path);
                thread::sleep(Duration::from_millis(15));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn request(port: u16, path: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // In one write, because the second of several small ones would wait for an acknowledgement.
    let text = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
