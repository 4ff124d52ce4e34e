//! The instances of Zope: those of `servers`, and those in the folders of `deployments`.
//!
//! A folder is a deployment if it has `parts/supervisor/supervisord.conf`. The port of its
//! `[inet_http_server]` is 99 above the base of the deployment's ports: `bin/instance7` answers
//! HTTP at base + 7, and its monitor at 80 above that. `instance0` is for maintenance and is not
//! asked. A folder that cannot be used is left out, because it must not cost the snapshot of the
//! others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use config::{Address, Zope};
use daemon::file::{self, Limit, Links, ReadError};
use daemon::remedy;
use glob::MatchOptions;
use sources::Source;
use sources::zope::{Request, endpoint_name};

use super::{Discovery, DiscoveryError, ENDPOINTS_MAX, Endpoint};

/// Where the monitors of a deployment listen.
const HOST: &str = "127.0.0.1";

/// Where a deployment's supervisor has its configuration.
const SUPERVISOR: &str = "parts/supervisor/supervisord.conf";
const SUPERVISOR_LIMIT: Limit = Limit { bytes: 1 << 20, name: "the limit of this file" };

/// From the base of a deployment's ports.
const SUPERVISOR_OFFSET: u32 = 99;
const MONITOR_OFFSET: u32 = 80;

/// Entries of a `bin`, and folders of `deployments`, that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// Bytes of an endpoint's name. A file's name has its ending too, and 255 bytes at most.
const NAME_MAX_BYTES: usize = 240;

/// An instance in a deployment's folder.
#[derive(Debug, PartialEq, Eq)]
struct Instance {
    number: u16,
    name: String,
    port: u16,
}

/// A deployment's folder, with its instances by number.
struct Deployment {
    folder: PathBuf,
    instances: Vec<Instance>,
}

/// The request that each instance gets.
pub(super) fn request(config: &Zope) -> Request {
    Request {
        // One small text in the life of the program, which reads its configuration once.
        database: config.database.clone().leak(),
        sampling_seconds: u16::try_from(config.sampling_interval.as_secs()).unwrap_or(u16::MAX),
    }
}

/// Every instance once: those of `servers` in the order of the file, then those of `deployments`.
/// Works on the disk, so it can block.
pub(super) fn find(config: &Zope, request: Request) -> Result<Discovery, DiscoveryError> {
    let mut found = Discovery::default();
    let mut names = HashSet::new();
    let mut given = HashSet::new();
    let endpoint = |address: Address, name: String| Endpoint {
        source: Source::Zope(request),
        address,
        name,
        // Named by the operator, by a pattern too: no such address is left out. Nor must the
        // client half-close, because the monitor would not answer.
        identity: None,
        worker: None,
        is_needed: !config.allow_partial,
    };
    for server in &config.servers {
        given.insert(server.address.clone());
        let name = endpoint_name(server.deployment.as_bytes(), &server.name);
        names.insert(name.clone());
        found.endpoints.push(endpoint(server.address.clone(), name));
    }
    let deployments = deployments(&config.deployments, &mut found.unreadable);
    let several = names_of_several(&deployments);
    let mut ports: HashMap<u16, &Path> = HashMap::new();
    for Deployment { folder, instances } in &deployments {
        for Instance { name: instance, port, .. } in instances {
            let address = Address::Tcp { host: HOST.to_owned(), port: *port };
            if given.contains(&address) {
                continue;
            }
            if let Some(other) = ports.get(port) {
                let reason = format!(
                    "{instance} has the port {port} of an instance in {other:?}; give each \
                     deployment ports of its own"
                );
                found.unreadable.insert(folder.clone(), reason);
                continue;
            }
            let base = folder.file_name().unwrap_or_default();
            let mut name = endpoint_name(base.as_bytes(), instance);
            if several.contains(base) || names.contains(&name) {
                found.shared.insert(base.to_string_lossy().escape_debug().to_string());
                name = endpoint_name(folder.as_os_str().as_bytes(), instance);
            }
            if name.len() > NAME_MAX_BYTES {
                let reason = "its name is too long for the name of a file; shorten it".to_owned();
                found.unreadable.insert(folder.clone(), reason);
                continue;
            }
            ports.insert(*port, folder);
            found.endpoints.push(endpoint(address, name));
            if found.endpoints.len() > ENDPOINTS_MAX {
                return Err(DiscoveryError::TooMany);
            }
        }
    }
    Ok(found)
}

/// The base names that several deployments have.
fn names_of_several(deployments: &[Deployment]) -> BTreeSet<&OsStr> {
    let mut seen = HashSet::new();
    let names = deployments.iter().filter_map(|deployment| deployment.folder.file_name());
    names.filter(|name| !seen.insert(*name)).collect()
}

/// The deployments of all patterns, each once, in the order of the file and then by name.
fn deployments(patterns: &[String], unreadable: &mut BTreeMap<PathBuf, String>) -> Vec<Deployment> {
    let mut deployments = Vec::new();
    let mut seen = HashSet::new();
    for pattern in patterns {
        let is_named = !pattern.contains(['*', '?', '[']);
        for folder in folders(pattern, is_named, unreadable) {
            if !seen.insert(folder.clone()) {
                continue;
            }
            match instances(&folder) {
                Ok(Some(instances)) => deployments.push(Deployment { folder, instances }),
                // A pattern may match other folders, too.
                Ok(None) if !is_named => {}
                Ok(None) => {
                    let reason = format!("it has no {SUPERVISOR}; correct deployments in [zope]");
                    unreadable.insert(folder, reason);
                }
                Err(reason) => _ = unreadable.insert(folder, reason),
            }
        }
    }
    deployments
}

/// The folders of a pattern, by name, without hidden ones.
fn folders(
    pattern: &str,
    is_named: bool,
    unreadable: &mut BTreeMap<PathBuf, String>,
) -> Vec<PathBuf> {
    if is_named {
        return vec![PathBuf::from(pattern.trim_end_matches('/'))];
    }
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    // The configuration has checked the pattern.
    let Ok(paths) = glob::glob_with(pattern, options) else { return Vec::new() };
    let mut folders = Vec::new();
    for (count, path) in paths.enumerate() {
        if count == ENTRIES_MAX {
            let reason = format!("more than {ENTRIES_MAX} entries match; the rest is not searched");
            unreadable.insert(PathBuf::from(pattern), reason);
            break;
        }
        match path {
            Ok(path) if path.is_dir() => folders.push(path),
            Ok(_) => {}
            Err(error) => {
                let reason = format!("{}{}", error.error(), remedy::of(error.error()));
                unreadable.insert(error.path().to_owned(), reason);
            }
        }
    }
    folders
}

/// The instances in a folder, by number; `None` if it is no deployment; else why it cannot be used.
fn instances(folder: &Path) -> Result<Option<Vec<Instance>>, String> {
    let Some(text) = supervisor(folder)? else { return Ok(None) };
    let port = supervisor_port(&text).ok_or_else(|| {
        format!("{SUPERVISOR} has no port in [inet_http_server]; build the deployment anew")
    })?;
    let Some(base) = u32::from(port).checked_sub(SUPERVISOR_OFFSET) else {
        return Err(format!("{SUPERVISOR} has the port {port}, and one from 100 on is expected"));
    };
    let bin = folder.join("bin");
    let unreadable = |error: io::Error| format!("bin: {error}{}", remedy::of(&error));
    let mut instances = Vec::new();
    for (count, entry) in fs::read_dir(bin).map_err(unreadable)?.enumerate() {
        if count == ENTRIES_MAX {
            return Err(format!("its bin has more than {ENTRIES_MAX} entries; remove some"));
        }
        let file_name = entry.map_err(unreadable)?.file_name();
        let Some((name, number)) = file_name.to_str().and_then(instance_number) else { continue };
        let port = u16::try_from(base + u32::from(number) + MONITOR_OFFSET)
            .map_err(|_| format!("its {name} would have a port beyond 65535"))?;
        instances.push(Instance { number, name: name.to_owned(), port });
    }
    instances.sort_by(|left, right| (left.number, &left.name).cmp(&(right.number, &right.name)));
    // `instance01` beside `instance1` has the same port.
    instances.dedup_by_key(|instance| instance.number);
    Ok(Some(instances))
}

/// The configuration of a deployment's supervisor; `None` if there is none.
fn supervisor(folder: &Path) -> Result<Option<String>, String> {
    let path = folder.join(SUPERVISOR);
    let mut bytes = Vec::new();
    let read = file::open(&path, SUPERVISOR_LIMIT, Links::Follow)
        .and_then(|mut file| file.read_to_end(&mut bytes).map_err(ReadError::from));
    match read {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(_) if is_missing(&path) => Ok(None),
        Err(error) => Err(format!("{SUPERVISOR} {error}")),
    }
}

fn is_missing(path: &Path) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    fs::metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// The port of `[inet_http_server]`: bare, or behind a host.
fn supervisor_port(text: &str) -> Option<u16> {
    let mut is_inside = false;
    for line in text.lines() {
        if line.starts_with('[') {
            is_inside = line.trim_end() == "[inet_http_server]";
            continue;
        }
        let Some((option, value)) = line.split_once(['=', ':']) else { continue };
        if is_inside && option.trim() == "port" {
            // A comment begins with a blank and a semicolon.
            let value = value.split(" ;").next().unwrap_or_default().trim();
            let port = value.rsplit(':').next().unwrap_or_default();
            return port.parse().ok().filter(|port| *port > 0);
        }
    }
    None
}

/// `instance` and digits; `None` for other names, and for `instance0`.
fn instance_number(name: &str) -> Option<(&str, u16)> {
    let digits = name.strip_prefix("instance")?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    (number > 0).then_some((name, number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use config::ZopeInstance;

    use super::*;

    /// A deployment whose supervisor has this port.
    fn deployment(folder: &Path, port: &str, names: &[&str]) {
        fs::create_dir_all(folder.join("parts/supervisor")).unwrap();
        fs::create_dir_all(folder.join("bin")).unwrap();
        let text = format!(
            "[unix_http_server]\nport = 7\n\n[inet_http_server]\nusername = x\nport = {port}\n\
             [supervisord]\nport = 9\n"
        );
        fs::write(folder.join(SUPERVISOR), text).unwrap();
        for name in names {
            fs::write(folder.join("bin").join(name), "").unwrap();
        }
    }

    fn found(servers: Vec<ZopeInstance>, deployments: &[&Path]) -> Discovery {
        let path = |path: &&Path| path.to_str().unwrap().to_owned();
        let config = Zope {
            servers,
            deployments: deployments.iter().map(path).collect(),
            database: "main".into(),
            sampling_interval: Duration::from_secs(60),
            allow_partial: true,
        };
        let request = request(&config);
        assert_eq!(request, Request { database: "main", sampling_seconds: 60 });
        find(&config, request).unwrap()
    }

    fn shown(found: &Discovery) -> Vec<String> {
        let endpoints = found.endpoints.iter();
        endpoints.map(|endpoint| format!("{} {}", endpoint.name, endpoint.address)).collect()
    }

    fn reasons(found: &Discovery) -> String {
        let reasons = found.unreadable.iter();
        reasons.map(|(path, reason)| format!("{}: {reason}\n", path.display())).collect()
    }

    #[test]
    fn the_ports_of_a_deployment_follow_from_its_supervisor() {
        let root = tempfile::tempdir().unwrap();
        let names = ["instance", "instance0", "instance1", "instance12", "instance2", "instance3x"];
        deployment(&root.path().join("01-foo.example.org"), "127.0.0.1:10399 ; local", &names);
        deployment(&root.path().join("b c"), "20099", &["instance1", "instance01", "zeo"]);
        fs::create_dir(root.path().join("no deployment")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        deployment(&root.path().join(".hidden"), "30099", &["instance1"]);
        symlink("b c", root.path().join("linked")).unwrap();
        let found = found(vec![], &[&root.path().join("[0b]*")]);
        assert_eq!(
            shown(&found),
            [
                "01-foo.example.org%2finstance1 127.0.0.1:10381",
                "01-foo.example.org%2finstance2 127.0.0.1:10382",
                "01-foo.example.org%2finstance12 127.0.0.1:10392",
                "b%20c%2finstance01 127.0.0.1:20081",
            ]
        );
        assert!(found.unreadable.is_empty() && found.shared.is_empty(), "{found:?}");
        let all = super::tests::found(vec![], &[&root.path().join("*")]);
        assert_eq!(all.endpoints.len(), 4);
        assert!(reasons(&all).contains("linked: instance01 has the port 20081"), "{all:?}");
    }

    #[test]
    fn an_instance_that_is_named_keeps_its_name_and_counts_once() {
        let root = tempfile::tempdir().unwrap();
        let folders = ["one/shop", "two/shop"].map(|name| root.path().join(name));
        deployment(&folders[0], "10399", &["instance1", "instance2"]);
        deployment(&folders[1], ":20399", &["instance1"]);
        let address = Address::Tcp { host: HOST.into(), port: 10381 };
        let server = ZopeInstance { deployment: "shop".into(), name: "first".into(), address };
        let found = found(vec![server], &[&folders[0], &folders[1]]);
        let whole = |at: usize, name| endpoint_name(folders[at].as_os_str().as_bytes(), name);
        assert_eq!(
            shown(&found),
            [
                "shop%2ffirst 127.0.0.1:10381".to_owned(),
                format!("{} 127.0.0.1:10382", whole(0, "instance2")),
                format!("{} 127.0.0.1:20381", whole(1, "instance1")),
            ]
        );
        assert_eq!(found.shared.iter().collect::<Vec<_>>(), ["shop"]);
        assert!(found.endpoints.iter().all(|it| it.identity.is_none() && !it.is_needed));
    }

    #[test]
    fn a_folder_that_cannot_be_used_says_why_and_costs_no_other() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        deployment(&at("a-good"), "10399", &["instance1"]);
        deployment(&at("b-no-port"), "none", &["instance1"]);
        deployment(&at("c-low"), "80", &["instance1"]);
        deployment(&at("d-high"), "65535", &["instance70", "instance20"]);
        deployment(&at("e-no-bin"), "20099", &[]);
        fs::remove_dir(at("e-no-bin/bin")).unwrap();
        deployment(&at(&"f".repeat(250)), "30099", &["instance1"]);
        fs::create_dir_all(at("g-folder").join(SUPERVISOR)).unwrap();
        deployment(&at("h-large"), "40099", &["instance1"]);
        let large = fs::File::create(at("h-large").join(SUPERVISOR)).unwrap();
        large.set_len(SUPERVISOR_LIMIT.bytes + 1).unwrap();
        let found = found(vec![], &[&at("*"), &at("missing")]);
        assert_eq!(shown(&found), ["a-good%2finstance1 127.0.0.1:10381"]);
        let reasons = reasons(&found);
        for part in [
            "b-no-port: parts/supervisor/supervisord.conf has no port in [inet_http_server]",
            "c-low: parts/supervisor/supervisord.conf has the port 80",
            "d-high: its instance",
            "e-no-bin: bin: ",
            "fff: its name is too long",
            "g-folder: parts/supervisor/supervisord.conf ",
            "h-large: parts/supervisor/supervisord.conf ",
            "missing: it has no parts/supervisor/supervisord.conf",
        ] {
            assert!(reasons.contains(part), "{part:?} is not in {reasons}");
        }
        assert_eq!(found.unreadable.len(), 8, "{reasons}");
    }
}
