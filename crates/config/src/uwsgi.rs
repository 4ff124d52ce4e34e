//! `[uwsgi]`: the applications of uWSGI that haproxystats-pull asks beside HAProxy, or alone.
//!
//! An entry is an address, with a name before it or not, or a pattern of paths.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fault::Problem;
use crate::interpolate::Resolver;
use crate::kind::{self, Form, Kind};
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::typed::{Address, Uwsgi, UwsgiServer};
use crate::values::{self, Problems, wrong};

pub(crate) const SECTION: &str = "uwsgi";

/// Bytes of a name; it is a part of a file's name.
const NAME_MAX_BYTES: usize = 100;

const FORMS: &str = "NAME=unix:///path, NAME=tcp://host:port, NAME=http://host:port, the same \
                     without NAME=, or /path/*.stats";

const SERVERS: Opt<Vec<UwsgiServer>> = Opt::unset(
    "servers",
    Form { kind: Kind::Applications, parse: servers },
    "stats servers of uWSGI; a pattern is looked up at each cycle",
);
const ALLOW_PARTIAL: Opt<bool> = Opt::new(
    "allow-partial",
    kind::BOOLEAN,
    "true",
    "publish what answered, even if not every application did",
);

pub(crate) const OPTIONS: &[KnownOption] = &[SERVERS.row, ALLOW_PARTIAL.row];

/// Reads the section.
pub(crate) fn uwsgi(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Uwsgi, Rejection> {
    let mut reader = Reader::new(resolver, SECTION, file);
    Ok(Uwsgi {
        servers: reader.optional(&SERVERS).unwrap_or_default(),
        allow_partial: reader.value(&ALLOW_PARTIAL)?,
    })
}

fn servers(text: &str) -> Result<Vec<UwsgiServer>, Problems> {
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    values::comma_list(text, server, |written, server| {
        let mut problems = Problems::new();
        if let UwsgiServer::Application { name, address, .. } = server {
            if !addresses.insert(address.clone()) {
                problems.push(Problem::ServerTwice { value: written.to_owned() });
            }
            if let Some(name) = name
                && !names.insert(name.clone())
            {
                problems.extend(wrong(written, "a second server of this name", "another name"));
            }
        }
        problems
    })
}

fn server(written: &str) -> Result<UwsgiServer, Problems> {
    let (name, rest) = match written.split_once('=') {
        // An equals sign can also be in a path.
        Some((name, rest)) if !name.contains(['/', ':']) => (Some(name.trim()), rest.trim()),
        _ => (None, written),
    };
    if let Some(name) = name {
        check_name(name)?;
    }
    if rest.starts_with('/') && rest.contains(['*', '?', '[']) {
        if name.is_some() {
            let right = "it without a name: each application is called by its file";
            return Err(wrong(written, "a pattern with a name", right));
        }
        check_pattern(rest)?;
        return Ok(UwsgiServer::Pattern(rest.to_owned()));
    }
    let (address, http) = address(rest)?;
    Ok(UwsgiServer::Application { name: name.map(str::to_owned), address, http })
}

fn address(written: &str) -> Result<(Address, bool), Problems> {
    if written.starts_with('/') {
        if written.ends_with('/') || written.contains(char::is_control) {
            return Err(wrong(written, "no path of a socket", "a path such as /run/shop.stats"));
        }
        return Ok((Address::Unix(PathBuf::from(written)), false));
    }
    if let Some(rest) = written.strip_prefix("http://") {
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '#', '@']) {
            let right = "http://host:port; uWSGI's stats server has no paths and no users";
            return Err(wrong(written, "no address of a stats server", right));
        }
        let address = values::server(&format!("tcp://{place}"));
        return address.map(|address| (address, true)).map_err(|_| unknown(written));
    }
    if !written.starts_with("unix://") && !written.starts_with("tcp://") {
        return Err(unknown(written));
    }
    values::server(written).map(|address| (address, false))
}

fn unknown(written: &str) -> Problems {
    wrong(written, "no address of a stats server", FORMS)
}

/// A name becomes a part of a file's name, a tag and a part of Graphite's paths.
fn check_name(name: &str) -> Result<(), Problems> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_short = (1..=NAME_MAX_BYTES).contains(&name.len());
    if is_short && name.chars().all(is_legal) && !name.starts_with('.') {
        return Ok(());
    }
    let right = "letters, digits, dots, - and _, 100 at most, no dot in front";
    Err(wrong(name, "no name of an application", right))
}

fn check_pattern(pattern: &str) -> Result<(), Problems> {
    if pattern.contains("**") {
        let right = "one * for each folder: ** would search whole file systems at each cycle";
        return Err(wrong(pattern, "a pattern without an end", right));
    }
    match glob::Pattern::new(pattern) {
        Ok(_) if !pattern.contains(char::is_control) => Ok(()),
        _ => Err(wrong(pattern, "no pattern of paths", "one such as /run/uwsgi/*.stats")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let shown = |server: UwsgiServer| match server {
            UwsgiServer::Application { name, address, http } => {
                let name = name.unwrap_or_default();
                let kind = if http { "http" } else { "plain" };
                format!("{name} {address} {kind}")
            }
            UwsgiServer::Pattern(pattern) => pattern,
        };
        servers(text).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn every_form_is_read() {
        let text = "shop=tcp://127.0.0.1:9191, blog = unix:///run/blog.stats,api=http://[::1]:92/, \
                    /run/uwsgi/*.stats, /run/a=b.sock, tcp://lb1:80";
        assert_eq!(
            shown(text),
            [
                "shop 127.0.0.1:9191 plain",
                "blog unix:///run/blog.stats plain",
                "api [::1]:92 http",
                "/run/uwsgi/*.stats",
                " unix:///run/a=b.sock plain",
                " lb1:80 plain",
            ]
        );
    }

    #[test]
    fn each_faulty_entry_is_told() {
        for text in [
            "",
            "shop",
            "shop=",
            "=tcp://a:1",
            "a b=tcp://a:1",
            ".a=tcp://a:1",
            "tcp://a",
            "http://a",
            "http://a:1/x",
            "http://u@a:1",
            "https://a:1",
            "unix://run/x",
            "/run/",
            "x=/run/*.stats",
            "/run/**/x",
            "/run/[",
            "run/*.stats",
        ] {
            assert_eq!(servers(&format!("good=tcp://g:1,{text}")).unwrap_err().len(), 1, "{text}");
        }
        let long = format!("{}=tcp://a:1", "x".repeat(101));
        assert!(servers(&long).is_err());
        assert_eq!(servers("a=tcp://a:1,b=http://a:1").unwrap_err().len(), 1, "an address twice");
        assert_eq!(servers("a=tcp://a:1,a=tcp://a:2").unwrap_err().len(), 1, "a name twice");
    }
}
