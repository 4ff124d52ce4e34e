//! The endpoints of a cycle, and the names of their files.
//!
//! A file is named by its socket's base name, or by `host:port`. Sockets with equal base names are
//! named by their whole paths instead. A number would depend on the order of a list, and a name
//! must mean the same socket in every cycle.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use config::{Address, Pull, Uwsgi, Zope};
use daemon::remedy;
use sources::Source;
use sources::zope::Request;
use tracing::debug;

use crate::Error;

mod uwsgi;
mod zope;

/// Endpoints of a cycle at most. Each has two files in a snapshot, beside the manifest, and
/// haproxystats-process refuses a snapshot with more than 20,000 files.
pub(crate) const ENDPOINTS_MAX: usize = 9_999;

/// The kind of all endpoints of `socket-dir` and `servers`.
pub(crate) const STATS_SOCKET: Source = Source::HAProxy;

const _: () = assert!(STATS_SOCKET.suffixes().len() * ENDPOINTS_MAX < spool::writer::FILES_MAX);

/// One endpoint of a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) source: Source,
    pub(crate) address: Address,
    /// The beginning of its files' names; safe for a file system and for a log.
    pub(crate) name: String,
    /// The socket in `socket-dir`, which is left out if it turns out to be of another kind. `None`
    /// for an endpoint of `servers`, which always counts, because the operator has named it.
    pub(crate) identity: Option<Identity>,
    /// Whether no snapshot is published without its answer.
    pub(crate) is_needed: bool,
    /// The worker that is asked, if the socket is a master CLI.
    pub(crate) worker: Option<u32>,
}

/// Tells a socket from another one that takes its place at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    /// Inode numbers are reused, so the time of the change counts too: seconds and nanoseconds.
    changed: (i64, i64),
}

/// The endpoints of a cycle cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error("cannot read socket-dir {}: {source}{}", path.display(), remedy::of(source))]
    Read { path: PathBuf, source: io::Error },
    /// No endpoint is asked, because a snapshot of some endpoints would look whole.
    #[error(
        "socket-dir, servers, [uwsgi] and [zope] have more than {ENDPOINTS_MAX} sockets, and \
         haproxystats-process takes no snapshot of so many; remove sockets that no {} listens on, \
         or divide them among several haproxystats-pull",
        STATS_SOCKET.program()
    )]
    TooMany,
}

impl DiscoveryError {
    /// The error without its details: one state for the log.
    pub(crate) fn state(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("find {:?}", source.kind()),
            Self::TooMany => "find too many".to_owned(),
        }
    }
}

/// Finds the endpoints anew for each cycle, because sockets come and go with their program.
/// Works on the disk, so it can block.
#[derive(Debug, Clone)]
pub(crate) struct Finder {
    socket_dir: Option<PathBuf>,
    servers: Vec<Address>,
    masters: Vec<Address>,
    allow_partial: bool,
    uwsgi: Uwsgi,
    zope: Zope,
    /// The request that each instance of Zope gets.
    perf_metrics: Request,
}

/// The endpoints of a cycle.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) endpoints: Vec<Endpoint>,
    /// The master CLIs that the configuration names.
    pub(crate) masters: Vec<Endpoint>,
    /// Base names that several sockets have.
    pub(crate) shared: BTreeSet<String>,
    /// What could not be searched for endpoints, and why.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
}

impl Finder {
    /// Fails if the configuration names no endpoint.
    pub(crate) fn new(config: &Pull) -> Result<Self, Error> {
        let (socket_dir, servers) = (config.socket_dir.clone(), config.servers.clone());
        let (masters, uwsgi) = (config.masters.clone(), config.uwsgi.clone());
        let zope = config.zope.clone();
        let names_none = servers.is_empty() && masters.is_empty() && uwsgi.servers.is_empty();
        if socket_dir.is_none() && names_none && zope.is_off() {
            return Err(Error::NothingToAsk);
        }
        let (allow_partial, perf_metrics) = (config.allow_partial, zope::request(&zope));
        Ok(Self { socket_dir, servers, masters, allow_partial, uwsgi, zope, perf_metrics })
    }

    /// Every endpoint once, those of `servers` first, those of `socket-dir` by name, those of
    /// uWSGI, those of Zope.
    pub(crate) fn find(&self) -> Result<Discovery, DiscoveryError> {
        let named = self.masters.iter().chain(&self.servers);
        let mut addresses: Vec<_> = named.map(|address| (address.clone(), None)).collect();
        if let Some(dir) = &self.socket_dir {
            let sockets = sockets_in(dir)
                .map_err(|source| DiscoveryError::Read { path: dir.clone(), source })?;
            let sockets = sockets.into_iter();
            addresses.extend(sockets.map(|(path, it)| (Address::Unix(path), Some(it))));
        }
        // A process that is asked twice would count twice in the sums.
        let mut seen = HashSet::new();
        addresses.retain(|(address, _)| seen.insert(address.clone()));
        let applications = uwsgi::find(&self.uwsgi)?;
        let instances = zope::find(&self.zope, self.perf_metrics)?;
        let others = applications.endpoints.len() + instances.endpoints.len();
        if addresses.len() + others > ENDPOINTS_MAX {
            return Err(DiscoveryError::TooMany);
        }
        let (mut endpoints, mut shared) = name_endpoints(addresses, !self.allow_partial);
        let masters: HashSet<&Address> = self.masters.iter().collect();
        let masters =
            endpoints.extract_if(.., |endpoint| masters.contains(&endpoint.address)).collect();
        endpoints.extend(applications.endpoints);
        shared.extend(applications.shared);
        endpoints.extend(instances.endpoints);
        shared.extend(instances.shared);
        let mut unreadable = applications.unreadable;
        unreadable.extend(instances.unreadable);
        Ok(Discovery { endpoints, masters, shared, unreadable })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            // Escaped: a line feed in a path must not forge a line of the log.
            Address::Unix(path) => {
                formatter.write_str("unix://")?;
                for letter in path.to_string_lossy().chars() {
                    if letter.is_control() {
                        write!(formatter, "{}", letter.escape_default())?;
                    } else {
                        formatter.write_char(letter)?;
                    }
                }
            }
            Address::Tcp { host, port } => {
                let scheme = self.source.tcp_scheme();
                if host.contains(':') {
                    write!(formatter, "{scheme}://[{host}]:{port}")?;
                } else {
                    write!(formatter, "{scheme}://{host}:{port}")?;
                }
            }
        }
        match self.worker {
            Some(pid) => write!(formatter, " @!{pid}"),
            None => Ok(()),
        }
    }
}

/// The UNIX sockets in a directory, sorted by name, including those that `servers` lists. Stops at
/// one more than [`ENDPOINTS_MAX`]. A link counts as its target; a dangling link is left out.
fn sockets_in(dir: &Path) -> io::Result<Vec<(PathBuf, Identity)>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if !metadata.file_type().is_socket() {
            continue;
        }
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        if STATS_SOCKET.is_temporary_name(&name) {
            debug!(socket = ?path, "left out: {} makes it for a moment", STATS_SOCKET.program());
            continue;
        }
        let identity = Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        sockets.push((path, identity));
        if sockets.len() > ENDPOINTS_MAX {
            break;
        }
    }
    sockets.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(sockets)
}

/// Gives every address a unique name; also returns the base names that several addresses share.
fn name_endpoints(
    addresses: Vec<(Address, Option<Identity>)>,
    is_needed: bool,
) -> (Vec<Endpoint>, BTreeSet<String>) {
    let mut endpoints: Vec<Endpoint> = addresses
        .into_iter()
        .map(|(address, identity)| Endpoint {
            source: STATS_SOCKET,
            name: short_name(&address),
            address,
            identity,
            is_needed,
            worker: None,
        })
        .collect();
    let mut shared = BTreeSet::new();
    loop {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for endpoint in &endpoints {
            *counts.entry(&endpoint.name).or_default() += 1;
        }
        let clashes: BTreeSet<String> = counts
            .into_iter()
            .filter(|(name, count)| *count > 1 && !shared.contains(*name))
            .map(|(name, _)| name.to_owned())
            .collect();
        if clashes.is_empty() {
            return (endpoints, shared);
        }
        // A whole name may by chance be the base name of another socket, so the loop goes on.
        for endpoint in &mut endpoints {
            if clashes.contains(&endpoint.name) {
                endpoint.name = whole_name(&endpoint.address);
            }
        }
        shared.extend(clashes);
    }
}

fn short_name(address: &Address) -> String {
    if let Address::Unix(path) = address
        && let Some(base) = path.file_name().and_then(OsStr::to_str)
        && !base.contains(char::is_control)
    {
        return base.to_owned();
    }
    whole_name(address)
}

/// Different addresses have different names: each byte that a file name cannot have is written
/// as `%` and two hexadecimal digits.
fn whole_name(address: &Address) -> String {
    match address {
        // The leading slash keeps it apart from the names of TCP endpoints.
        Address::Unix(path) => escape(path.as_os_str().as_bytes()),
        Address::Tcp { host, port } => format!("{}:{port}", escape(host.as_bytes())),
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut name = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%') {
            name.push(char::from(*byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;

    fn unix(path: &str) -> Address {
        Address::Unix(path.into())
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    fn finder(socket_dir: Option<PathBuf>, servers: Vec<Address>) -> Finder {
        let uwsgi = Uwsgi { servers: vec![], allow_partial: true };
        let masters = Vec::new();
        let zope = Zope {
            servers: vec![],
            deployments: vec![],
            database: "main".into(),
            sampling_interval: Duration::from_secs(300),
            allow_partial: true,
        };
        let perf_metrics = Request::DEFAULT;
        Finder { socket_dir, servers, masters, allow_partial: false, uwsgi, zope, perf_metrics }
    }

    fn names(addresses: Vec<Address>) -> Vec<String> {
        listed(addresses).into_iter().map(|endpoint| endpoint.name).collect()
    }

    fn listed(addresses: Vec<Address>) -> Vec<Endpoint> {
        name_endpoints(addresses.into_iter().map(|address| (address, None)).collect(), true).0
    }

    #[test]
    fn files_are_named_by_base_name_or_host_and_port() {
        let addresses = vec![unix("/run/haproxy/admin1.sock"), tcp("::1", 8080), tcp("lb1", 80)];
        assert_eq!(names(addresses), ["admin1.sock", "::1:8080", "lb1:80"]);
        assert_eq!(names(vec![tcp("../x", 1)]), ["..%2fx:1"]);
    }

    #[test]
    fn the_same_base_name_becomes_the_whole_path_in_any_order() {
        let [a, b, other] = ["/run/a/s", "/run/b/s", "/run/a/t"].map(unix);
        assert_eq!(
            names(vec![a.clone(), other.clone(), b.clone()]),
            ["%2frun%2fa%2fs", "t", "%2frun%2fb%2fs"]
        );
        assert_eq!(names(vec![b, a, other]), ["%2frun%2fb%2fs", "%2frun%2fa%2fs", "t"]);
    }

    #[test]
    fn a_base_name_that_is_another_ones_whole_name_gives_way() {
        let addresses = ["/run/a/s", "/run/b/s", "/run/%2frun%2fa%2fs"].map(unix);
        let names = names(addresses.to_vec());
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3, "{names:?}");
        assert_eq!(names[1], "%2frun%2fb%2fs");
        let mixed = listed(vec![tcp("lb1", 80), unix("/run/lb1:80")]);
        assert_eq!([&*mixed[0].name, &*mixed[1].name], ["lb1:80", "%2frun%2flb1:80"]);
    }

    #[test]
    fn a_name_of_any_bytes_can_be_logged_and_written() {
        let path = PathBuf::from(OsStr::from_bytes(b"/run/\xff\n\x1b"));
        let endpoints = listed(vec![Address::Unix(path)]);
        assert_eq!(endpoints[0].name, "%2frun%2f%ff%0a%1b");
        assert_eq!(endpoints[0].to_string(), "unix:///run/\u{fffd}\\n\\u{1b}");
    }

    #[test]
    fn only_sockets_are_found_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let listening = ["b.sock", "a", "c.sock.4711.bak", "c.sock.4711.tmp", "d.tmp", ".e"]
            .map(|name| UnixListener::bind(at(name)).unwrap());
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink(at("missing"), at("dangling")).unwrap();
        let servers = vec![tcp("lb1", 80), Address::Unix(at("b.sock")), tcp("lb1", 80)];
        let finder = finder(Some(dir.path().into()), servers);
        let found = finder.find().unwrap().endpoints;
        let in_directory: Vec<_> =
            found.iter().map(|endpoint| endpoint.identity.is_some()).collect();
        assert_eq!(in_directory, [false, false, true, true, true]);
        let names: Vec<_> = found.iter().map(|endpoint| &*endpoint.name).collect();
        assert_eq!(names, ["lb1:80", "b.sock", ".e", "a", "d.tmp"]);
        drop(listening);
    }

    #[test]
    fn more_endpoints_than_a_snapshot_can_hold_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("0");
        let _listening = UnixListener::bind(&first).unwrap();
        for number in 1..ENDPOINTS_MAX {
            fs::hard_link(&first, dir.path().join(number.to_string())).unwrap();
        }
        let socket_dir = || Some(dir.path().into());
        let find = |servers| finder(socket_dir(), servers).find();
        // An endpoint that is listed twice counts once.
        let found = find(vec![Address::Unix(first.clone())]).unwrap();
        assert_eq!(found.endpoints.len(), ENDPOINTS_MAX);
        let error = find(vec![tcp("lb1", 80)]).unwrap_err();
        assert!(matches!(error, DiscoveryError::TooMany), "{error}");
        assert!(error.to_string().contains("more than 9999 sockets"), "{error}");
        fs::hard_link(&first, dir.path().join("one-more")).unwrap();
        assert!(matches!(find(vec![]).unwrap_err(), DiscoveryError::TooMany));
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let socket_dir = Some("/nowhere/at/all".into());
        let error = finder(socket_dir, vec![]).find().unwrap_err();
        assert!(error.to_string().contains("socket-dir /nowhere/at/all"), "{error}");
    }
}
