//! A real Kafka broker for tests: one node in a folder of its own, which can be killed, frozen and
//! started again on its data.
//!
//! It is started by `kafka-broker`, which `cargo xtask test` installs: a script that runs a class
//! of Kafka's with the arguments that it gets. Topics are made by Kafka's own protocol, because
//! Kafka's command for that takes seconds. Messages are read by kcat, a client that is not ours.

mod admin;
mod consume;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub use consume::Record;

use crate::tls::Authority;
use crate::{free_ports, wait_until};

/// The user of [`Broker::login_address`] and [`Broker::tls_address`].
pub const USER: &str = "alice";
/// The password of [`USER`].
pub const PASSWORD: &str = "correct horse";

/// A start takes 5 seconds, and several times as long on a machine with much to do.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Any identifier will do, in the form that Kafka asks for.
const CLUSTER_ID: &str = "MiAhysAsQ8C3JSZvcG4Skw";
/// The line of the log that tells that clients are served.
const READY: &str = "Kafka Server started";
/// A small heap and the quick compiler: a broker of a test lives for seconds.
const JAVA_OPTIONS: &str = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1";
const LOGGING: &str = "\
Configuration:
  Appenders:
    Console:
      name: console
      PatternLayout:
        pattern: \"%d %p %c{1} %m%n\"
  Loggers:
    Root:
      level: INFO
      AppenderRef:
        ref: console
";

/// A running broker. Dropping it kills it.
#[derive(Debug)]
pub struct Broker {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    login_port: u16,
    tls_port: u16,
    child: Child,
    starts: u32,
}

impl Broker {
    /// Starts a broker and waits until it serves clients. `program` is the path of `kafka-broker`;
    /// `properties` are lines for its configuration.
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not get ready; the error has the end of its log.
    pub fn start(program: &str, folder: &Path, properties: &str) -> io::Result<Self> {
        Self::start_with(program, folder, properties, None)
    }

    /// As [`Self::start`], and the broker listens on [`Self::tls_address`] too, with a certificate
    /// of the authority.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`]; or the certificate cannot be made.
    pub fn start_with_tls(
        program: &str,
        folder: &Path,
        properties: &str,
        authority: &Authority,
    ) -> io::Result<Self> {
        Self::start_with(program, folder, properties, Some(authority))
    }

    fn start_with(
        program: &str,
        folder: &Path,
        properties: &str,
        authority: Option<&Authority>,
    ) -> io::Result<Self> {
        let [port, login_port, tls_port, controller] = free_ports()?;
        let mut listeners =
            format!("PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{login_port}");
        let mut tls = String::new();
        if let Some(authority) = authority {
            listeners.push_str(&format!(",SASL_SSL://127.0.0.1:{tls_port}"));
            tls = tls_properties(folder, authority)?;
        }
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={listeners}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
             SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_{USER}=\"{PASSWORD}\";\n\
             {tls}\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             {properties}\n",
            folder.join("data").display()
        );
        fs::write(folder.join("server.properties"), text)?;
        fs::write(folder.join("log4j2.yaml"), LOGGING)?;
        let program = PathBuf::from(program);
        let scram = format!("SCRAM-SHA-512=[name={USER},password=\"{PASSWORD}\"]");
        let arguments =
            ["kafka.tools.StorageTool", "format", "--add-scram", &scram, "-t", CLUSTER_ID, "-c"];
        let log = folder.join("format.log");
        let status = command(&program, folder, &arguments, &log)?.status()?;
        if !status.success() {
            return Err(failure(&format!("cannot be formatted: {status}"), &log));
        }
        let (folder, starts) = (folder.to_owned(), 0);
        let child = serve(&program, &folder, starts)?;
        let mut broker = Self { program, folder, port, login_port, tls_port, child, starts };
        broker.await_ready()?;
        Ok(broker)
    }

    /// Its address for clients.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its address for clients that log in by PLAIN, as [`USER`] with [`PASSWORD`].
    #[must_use]
    pub fn login_address(&self) -> String {
        format!("127.0.0.1:{}", self.login_port)
    }

    /// Its address for clients that speak TLS and log in by SCRAM-SHA-512, as [`USER`] with
    /// [`PASSWORD`], if it was started by [`Self::start_with_tls`].
    #[must_use]
    pub fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port)
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    ///
    /// It cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts a broker that was killed again, with the same address and data.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.starts += 1;
        self.child = serve(&self.program, &self.folder, self.starts)?;
        self.await_ready()
    }

    /// Stops its execution: its kernel goes on taking bytes, and nobody answers.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Ends what [`Self::freeze`] began.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Makes a topic with its own settings, and waits until it can be used.
    ///
    /// # Errors
    ///
    /// The broker refuses it.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> io::Result<()> {
        admin::create_topic(&self.address(), topic, partitions, settings)?;
        // The answer can come before the log of each partition is there.
        let is_there = |partition| self.segment(topic, partition).is_file();
        if wait_until(START_LIMIT, || (0..partitions).all(is_there)) {
            return Ok(());
        }
        Err(self.failure("has no log for a new topic"))
    }

    /// Removes a topic, and waits until nothing of it is left.
    ///
    /// # Errors
    ///
    /// The broker refuses it.
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        admin::delete_topic(&self.address(), topic)?;
        // The folders of a deleted topic are renamed first.
        if wait_until(START_LIMIT, || !self.segment(topic, 0).is_file()) {
            return Ok(());
        }
        Err(self.failure("keeps the log of a topic that was removed"))
    }

    /// All messages of a topic, partition by partition. `kcat` is the path of the client.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn records(&self, kcat: &str, topic: &str) -> io::Result<Vec<Record>> {
        consume::records(kcat, &self.address(), topic)
    }

    /// The bytes that a partition has on the disk, also while the broker is frozen. Without
    /// compression the messages are in them as they are, and the newest can be cut.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn log_of(&self, topic: &str, partition: i32) -> io::Result<Vec<u8>> {
        fs::read(self.segment(topic, partition))
    }

    /// The compression of the first batch of a partition, by the number that Kafka gives it: 0 is
    /// none, 4 is zstd. `None` for a partition without a message.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn compression(&self, topic: &str, partition: i32) -> io::Result<Option<u8>> {
        const ATTRIBUTES: usize = 22;
        const CODEC: u8 = 7;
        let bytes = self.log_of(topic, partition)?;
        Ok(bytes.get(ATTRIBUTES).map(|attributes| attributes & CODEC))
    }

    fn segment(&self, topic: &str, partition: i32) -> PathBuf {
        let name = format!("data/{topic}-{partition}/00000000000000000000.log");
        self.folder.join(name)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process number"))?;
        Ok(kill_process(pid, signal)?)
    }

    fn await_ready(&mut self) -> io::Result<()> {
        let log = log_file(&self.folder, self.starts);
        let is_ready = || fs::read_to_string(&log).is_ok_and(|text| text.contains(READY));
        let mut has_ended = false;
        let came = wait_until(START_LIMIT, || {
            has_ended = !matches!(self.child.try_wait(), Ok(None));
            has_ended || is_ready()
        });
        if came && !has_ended {
            return Ok(());
        }
        Err(self.failure("does not get ready"))
    }

    fn failure(&self, what: &str) -> io::Error {
        failure(what, &log_file(&self.folder, self.starts))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kill();
    }
}

/// The properties of a listener with TLS, and the file with its key and its certificate.
fn tls_properties(folder: &Path, authority: &Authority) -> io::Result<String> {
    authority.issue("127.0.0.1")?;
    let key = fs::read_to_string(authority.path("127.0.0.1.key"))?;
    let certificate = fs::read_to_string(authority.path("127.0.0.1.pem"))?;
    let keystore = folder.join("keystore.pem");
    fs::write(&keystore, key + &certificate)?;
    let listener = "listener.name.sasl_ssl";
    Ok(format!(
        "{listener}.ssl.keystore.type=PEM\n\
         {listener}.ssl.keystore.location={}\n\
         {listener}.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
         {listener}.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
        keystore.display()
    ))
}

fn serve(program: &Path, folder: &Path, starts: u32) -> io::Result<Child> {
    command(program, folder, &["kafka.Kafka"], &log_file(folder, starts))?.spawn()
}

/// The command of a class whose last argument is the broker's configuration.
fn command(program: &Path, folder: &Path, arguments: &[&str], log: &Path) -> io::Result<Command> {
    let out = File::create(log)?;
    let logging = folder.join("log4j2.yaml");
    let options = format!("{JAVA_OPTIONS} -Dlog4j2.configurationFile={}", logging.display());
    let mut command = Command::new(program);
    command.args(arguments).arg(folder.join("server.properties"));
    command.env("JDK_JAVA_OPTIONS", options).stdin(Stdio::null());
    command.stdout(out.try_clone()?).stderr(out);
    Ok(command)
}

fn log_file(folder: &Path, starts: u32) -> PathBuf {
    folder.join(format!("broker-{starts}.log"))
}

/// An error with the end of a log.
fn failure(what: &str, log: &Path) -> io::Error {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = &lines[lines.len().saturating_sub(20)..];
    io::Error::other(format!("the broker {what}; the end of its log:\n{}", end.join("\n")))
}
