//! The applications of uWSGI, and their names.
//!
//! An application has the name that the file gives it, else that of its socket's file without the
//! extension, or `host:port`. Where two would have one name, those without a name of the
//! configuration's bear their whole paths.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use config::{Address, Uwsgi, UwsgiServer};
use daemon::remedy;
use sources::Source;
use sources::uwsgi::Carrier;

use super::{DiscoveryError, ENDPOINTS_MAX, Endpoint, escape, whole_name};

/// The applications of a cycle.
#[derive(Debug, Default)]
pub(crate) struct Applications {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Names that several sockets would have.
    pub(crate) shared: BTreeSet<String>,
    /// What could not be searched for a pattern, and why.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
}

struct Candidate {
    address: Address,
    carrier: Carrier,
    given: Option<String>,
}

/// Every application once: those of an address in the order of the file, then those of patterns.
/// Works on the disk, so it can block.
pub(super) fn find(config: &Uwsgi) -> Result<Applications, DiscoveryError> {
    let mut found = Applications::default();
    let mut candidates = Vec::new();
    let mut seen = HashSet::new();
    for server in &config.servers {
        if let UwsgiServer::Application { name, address, http } = server {
            let carrier = if *http { Carrier::Http } else { Carrier::Plain };
            seen.insert(address.clone());
            candidates.push(Candidate { address: address.clone(), carrier, given: name.clone() });
        }
    }
    for server in &config.servers {
        let UwsgiServer::Pattern(pattern) = server else { continue };
        for path in sockets_of(pattern, &mut found.unreadable) {
            let address = Address::Unix(path);
            if seen.insert(address.clone()) {
                candidates.push(Candidate { address, carrier: Carrier::Plain, given: None });
            }
            if candidates.len() > ENDPOINTS_MAX {
                return Err(DiscoveryError::TooMany);
            }
        }
    }
    let names = names_of(&candidates, &mut found.shared);
    for (candidate, name) in candidates.into_iter().zip(names) {
        found.endpoints.push(Endpoint {
            source: Source::Uwsgi(candidate.carrier),
            address: candidate.address,
            name,
            // Named by the operator, by a pattern too: no such socket is left out.
            identity: None,
            is_needed: !config.allow_partial,
            worker: None,
        });
    }
    Ok(found)
}

/// The UNIX sockets of a pattern, by name. A folder that cannot be read is left out: it must not
/// cost the snapshot of the others.
fn sockets_of(pattern: &str, unreadable: &mut BTreeMap<PathBuf, String>) -> Vec<PathBuf> {
    let mut sockets = Vec::new();
    // The configuration has checked the pattern.
    let Ok(paths) = glob::glob(pattern) else { return sockets };
    for path in paths {
        match path {
            Ok(path) => {
                if fs::metadata(&path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
                    sockets.push(path);
                }
            }
            Err(error) => {
                let reason = format!("{}{}", error.error(), remedy::of(error.error()));
                unreadable.insert(error.path().to_owned(), reason);
            }
        }
        if sockets.len() > ENDPOINTS_MAX {
            break;
        }
    }
    sockets
}

fn names_of(candidates: &[Candidate], shared: &mut BTreeSet<String>) -> Vec<String> {
    let short: Vec<String> = candidates.iter().map(short_name).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in &short {
        *counts.entry(name).or_default() += 1;
    }
    let mut names = Vec::new();
    for (candidate, name) in candidates.iter().zip(&short) {
        if counts.get(name.as_str()) == Some(&1) || candidate.given.is_some() {
            names.push(name.clone());
        } else {
            shared.insert(name.clone());
            names.push(whole_name(&candidate.address));
        }
    }
    names
}

fn short_name(candidate: &Candidate) -> String {
    if let Some(given) = &candidate.given {
        return given.clone();
    }
    if let Address::Unix(path) = &candidate.address
        && let Some(stem) = path.file_stem()
    {
        let name = escape(stem.as_encoded_bytes());
        // A name with a dot in front would be that of a hidden file.
        if !name.starts_with('.') {
            return name;
        }
    }
    whole_name(&candidate.address)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;

    fn application(name: &str, address: Address) -> UwsgiServer {
        let name = (!name.is_empty()).then(|| name.to_owned());
        UwsgiServer::Application { name, address, http: false }
    }

    fn found(servers: Vec<UwsgiServer>) -> Applications {
        find(&Uwsgi { servers, allow_partial: true }).unwrap()
    }

    fn names(applications: &Applications) -> Vec<&str> {
        applications.endpoints.iter().map(|endpoint| &*endpoint.name).collect()
    }

    fn pattern(dir: &Path, pattern: &str) -> UwsgiServer {
        UwsgiServer::Pattern(dir.join(pattern).to_str().unwrap().to_owned())
    }

    #[test]
    fn applications_are_named_by_the_file_or_by_their_socket() {
        let tcp = |port| Address::Tcp { host: "::1".into(), port };
        let all = found(vec![
            application("shop", tcp(1)),
            application("", tcp(2)),
            application("", Address::Unix("/run/blog.stats".into())),
            application("", Address::Unix("/run/a b/.stats".into())),
            application("", Address::Unix("/run/shop.sock".into())),
        ]);
        assert_eq!(
            names(&all),
            ["shop", "::1:2", "blog", "%2frun%2fa%20b%2f.stats", "%2frun%2fshop.sock"]
        );
        assert_eq!(all.shared.iter().collect::<Vec<_>>(), ["shop"]);
    }

    #[test]
    fn a_pattern_finds_sockets_alone_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("one/two")).unwrap();
        let listening = ["b.stats", "a.stats", "c.sock", "one/a.stats"]
            .map(|name| UnixListener::bind(at(name)).unwrap());
        fs::write(at("file.stats"), "").unwrap();
        let all = found(vec![
            pattern(dir.path(), "*.stats"),
            application("mine", Address::Unix(at("b.stats"))),
        ]);
        assert_eq!(names(&all), ["mine", "a"]);
        let both = found(vec![pattern(dir.path(), "*.stats"), pattern(dir.path(), "*/*.stats")]);
        let whole = |name: &str| whole_name(&Address::Unix(at(name)));
        assert_eq!(names(&both), [&*whole("a.stats"), "b", &*whole("one/a.stats")]);
        assert!(found(vec![pattern(dir.path(), "x*")]).endpoints.is_empty());
        drop(listening);
    }
}
