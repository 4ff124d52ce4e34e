//! `[pull]`: its options, and how they become [`Pull`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::interpolate::Resolver;
use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::typed::{Address, Listen, LogLevel, Pull, Retries};
use crate::{uwsgi, zope};

pub(crate) const SECTION: &str = "pull";

const LOGLEVEL: Opt<LogLevel> =
    Opt::unset("loglevel", kind::LOG_LEVEL, "how much haproxystats-pull logs");
const HOST_NAME: Opt<String> = Opt::unset(
    "host-name",
    kind::HOST_NAME,
    "the name that stands for this machine in every receiver; unset: the machine's own",
);
const SOCKET_DIR: Opt<PathBuf> = Opt::unset(
    "socket-dir",
    kind::PATH,
    "a folder: every UNIX socket in it is asked, at each cycle",
);
const SERVERS: Opt<Vec<Address>> = Opt::unset("servers", kind::SERVERS, "stats sockets by name");
const MASTERS: Opt<Vec<Address>> = Opt::unset(
    "masters",
    kind::SERVERS,
    "master CLIs of HAProxy: each worker behind them is asked, old ones after a reload too",
);
const OLD_WORKERS: Opt<bool> = Opt::new(
    "old-workers",
    kind::BOOLEAN,
    "true",
    "ask the workers from before a reload too, through a master CLI",
);
const SERVERS_INTERVAL: Opt<u64> = Opt::new(
    "servers-interval",
    kind::CYCLES,
    "1",
    "ask for servers in each such cycle only, for frontends and backends in all",
);
const RETRIES: Opt<Retries> = Opt::new("retries", kind::RETRIES, "1", "further tries to connect");
const TIMEOUT: Opt<Duration> =
    Opt::new("timeout", kind::LIMIT, "0.1", "limit of one try to connect");
const INTERVAL: Opt<Duration> = Opt::new("interval", kind::PAUSE, "0.5", "pause between two tries");
const PULL_TIMEOUT: Opt<Duration> =
    Opt::new("pull-timeout", kind::PAUSE, "2", "limit of a whole cycle; 0 is no limit");
const PULL_INTERVAL: Opt<Duration> =
    Opt::new("pull-interval", kind::PERIOD, "10", "time between the starts of two cycles");
const BUFFER_LIMIT: Opt<u64> = Opt::new(
    "buffer-limit",
    kind::BUFFER_BYTES,
    "6291456",
    "no effect: an answer is read in pieces of up to 64 KiB",
);
const ANSWER_LIMIT: Opt<u64> =
    Opt::new("answer-limit", kind::BYTES, "268435456", "bytes that one answer may have");
const DST_DIR: Opt<PathBuf> = Opt::new(
    "dst-dir",
    kind::PATH,
    "/var/lib/haproxystats/incoming",
    "where snapshots are published",
);
const TMP_DST_DIR: Opt<PathBuf> = Opt::new(
    "tmp-dst-dir",
    kind::PATH,
    "/var/lib/haproxystats/incoming.tmp",
    "where snapshots are staged, on the file system of dst-dir",
);
const WORKERS: Opt<usize> = Opt::new("workers", kind::WORKERS, "8", "threads that write files");
const QUEUE_SIZE: Opt<usize> = Opt::new(
    "queue-size",
    kind::SNAPSHOT_COUNT,
    "360",
    "no cycle while so many snapshots wait in dst-dir",
);
const SYNC: Opt<bool> =
    Opt::new("sync", kind::BOOLEAN, "true", "sync a snapshot to the disk before it is published");
const ALLOW_PARTIAL: Opt<bool> = Opt::new(
    "allow-partial",
    kind::BOOLEAN,
    "false",
    "publish what answered, even if not every endpoint did",
);
const MONITOR_LISTEN: Opt<Listen> = Opt::unset(
    "monitor-listen",
    kind::LISTEN,
    "the address at which load balancers and people ask how haproxystats-pull is",
);

pub(crate) const OPTIONS: &[KnownOption] = &[
    LOGLEVEL.row,
    HOST_NAME.row,
    SOCKET_DIR.row,
    SERVERS.row,
    MASTERS.row,
    OLD_WORKERS.row,
    SERVERS_INTERVAL.row,
    RETRIES.row,
    TIMEOUT.row,
    INTERVAL.row,
    PULL_TIMEOUT.row,
    PULL_INTERVAL.row,
    BUFFER_LIMIT.row,
    ANSWER_LIMIT.row,
    DST_DIR.row,
    TMP_DST_DIR.row,
    WORKERS.row,
    QUEUE_SIZE.row,
    SYNC.row,
    ALLOW_PARTIAL.row,
    MONITOR_LISTEN.row,
];

/// Reads the section.
pub(crate) fn pull(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Pull, Rejection> {
    let uwsgi = uwsgi::uwsgi(resolver, file);
    let zope = zope::zope(resolver, file);
    let mut reader = Reader::new(resolver, SECTION, file);
    // The option has no effect, but a bad value is a fault nevertheless.
    reader.optional(&BUFFER_LIMIT);
    let pull_timeout = reader.value(&PULL_TIMEOUT)?;
    Ok(Pull {
        loglevel: reader.value(&LOGLEVEL)?,
        host_name: reader.optional(&HOST_NAME),
        socket_dir: reader.optional(&SOCKET_DIR),
        servers: reader.optional(&SERVERS).unwrap_or_default(),
        masters: reader.optional(&MASTERS).unwrap_or_default(),
        old_workers: reader.value(&OLD_WORKERS)?,
        servers_interval: reader.value(&SERVERS_INTERVAL)?,
        retries: reader.value(&RETRIES)?,
        timeout: reader.value(&TIMEOUT)?,
        interval: reader.value(&INTERVAL)?,
        pull_timeout: (!pull_timeout.is_zero()).then_some(pull_timeout),
        pull_interval: reader.value(&PULL_INTERVAL)?,
        answer_limit: reader.value(&ANSWER_LIMIT)?,
        dst_dir: reader.value(&DST_DIR)?,
        tmp_dst_dir: reader.value(&TMP_DST_DIR)?,
        workers: reader.value(&WORKERS)?,
        queue_size: reader.value(&QUEUE_SIZE)?,
        sync: reader.value(&SYNC)?,
        allow_partial: reader.value(&ALLOW_PARTIAL)?,
        monitor_listen: reader.optional(&MONITOR_LISTEN),
        uwsgi: uwsgi?,
        zope: zope?,
    })
}
