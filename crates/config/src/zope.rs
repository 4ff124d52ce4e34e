//! `[zope]`: the instances of Zope that haproxystats-pull asks beside HAProxy, or alone.
//!
//! An entry of `servers` is one instance; `deployments` are folders in which instances are found.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::Problem;
use crate::interpolate::Resolver;
use crate::kind::{self, Form, Kind};
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::typed::{Zope, ZopeInstance};
use crate::values::{self, Problems, wrong};

pub(crate) const SECTION: &str = "zope";

/// Bytes of a name; two of them are a file's name.
const NAME_MAX_BYTES: usize = 100;

const SERVERS: Opt<Vec<ZopeInstance>> = Opt::unset(
    "servers",
    Form { kind: Kind::Instances, parse: servers },
    "monitors of Zope instances, by name",
);
const DEPLOYMENTS: Opt<Vec<String>> = Opt::unset(
    "deployments",
    Form { kind: Kind::Folders, parse: deployments },
    "folders of deployments, whose instances are looked up at each cycle",
);
const DATABASE: Opt<String> = Opt::new(
    "database",
    Form { kind: Kind::Name, parse: database },
    "main",
    "the database that each instance is asked about",
);
const SAMPLING_INTERVAL: Opt<Duration> = Opt::new(
    "sampling-interval",
    kind::SAMPLING,
    "300",
    "the time over which loads, stores and connections are counted",
);
const ALLOW_PARTIAL: Opt<bool> = Opt::new(
    "allow-partial",
    kind::BOOLEAN,
    "true",
    "publish what answered, even if not every instance did",
);

pub(crate) const OPTIONS: &[KnownOption] =
    &[SERVERS.row, DEPLOYMENTS.row, DATABASE.row, SAMPLING_INTERVAL.row, ALLOW_PARTIAL.row];

/// Reads the section.
pub(crate) fn zope(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Zope, Rejection> {
    let mut reader = Reader::new(resolver, SECTION, file);
    Ok(Zope {
        servers: reader.optional(&SERVERS).unwrap_or_default(),
        deployments: reader.optional(&DEPLOYMENTS).unwrap_or_default(),
        database: reader.value(&DATABASE)?,
        sampling_interval: reader.value(&SAMPLING_INTERVAL)?,
        allow_partial: reader.value(&ALLOW_PARTIAL)?,
    })
}

fn servers(text: &str) -> Result<Vec<ZopeInstance>, Problems> {
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    values::comma_list(text, server, |written, server| {
        let mut problems = Problems::new();
        if !addresses.insert(server.address.clone()) {
            problems.push(Problem::ServerTwice { value: written.to_owned() });
        }
        if !names.insert((server.deployment.clone(), server.name.clone())) {
            problems.extend(wrong(written, "a second instance of this name", "another name"));
        }
        problems
    })
}

fn server(written: &str) -> Result<ZopeInstance, Problems> {
    let form = || {
        let right = "DEPLOYMENT/INSTANCE=tcp://host:port or DEPLOYMENT/INSTANCE=unix:///path";
        wrong(written, "no instance of Zope", right)
    };
    let (names, address) = written.split_once('=').ok_or_else(form)?;
    let (deployment, name) = names.trim().split_once('/').ok_or_else(form)?;
    let address = address.trim();
    if !address.starts_with("tcp://") && !address.starts_with("unix://") {
        return Err(form());
    }
    check_name(deployment)?;
    check_name(name)?;
    let address = values::server(address)?;
    Ok(ZopeInstance { deployment: deployment.to_owned(), name: name.to_owned(), address })
}

/// A name becomes a part of a file's name, a tag and a part of Graphite's paths.
fn check_name(name: &str) -> Result<(), Problems> {
    if is_name(name) && !name.starts_with('.') {
        return Ok(());
    }
    let right = "letters, digits, dots, - and _, 100 at most, no dot in front";
    Err(wrong(name, "no name of a deployment or an instance", right))
}

fn is_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=NAME_MAX_BYTES).contains(&name.len()) && name.chars().all(is_legal)
}

fn database(text: &str) -> Result<String, Problems> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    let right = "letters, digits, dots, - and _, 100 at most, such as main";
    Err(wrong(text, "no name of a database", right))
}

fn deployments(text: &str) -> Result<Vec<String>, Problems> {
    let mut folders: Vec<String> = Vec::new();
    let mut problems = Problems::new();
    for written in text.split(',').map(str::trim) {
        match check_folder(written) {
            Ok(()) if folders.iter().any(|folder| folder == written) => {
                problems.extend(wrong(written, "a folder that is listed twice", "it once"));
            }
            Ok(()) => folders.push(written.to_owned()),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(folders) } else { Err(problems) }
}

fn check_folder(written: &str) -> Result<(), Problems> {
    if written.contains("**") {
        let right = "one * for each folder: ** would search whole file systems at each cycle";
        return Err(wrong(written, "a pattern without an end", right));
    }
    let is_path = written.len() > 1 && written.starts_with('/');
    match glob::Pattern::new(written) {
        Ok(_) if is_path && !written.contains(char::is_control) => Ok(()),
        _ => Err(wrong(written, "no folder of deployments", "one such as /home/zope/*")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_two_names_and_an_address() {
        let text = "shop/instance1=tcp://127.0.0.1:10381, 01-foo.example.org/i-2 = \
                    unix:///run/a=b.sock,x/y=tcp://[::1]:1";
        let shown: Vec<String> = servers(text)
            .unwrap()
            .iter()
            .map(|it| format!("{} {} {}", it.deployment, it.name, it.address))
            .collect();
        assert_eq!(
            shown,
            [
                "shop instance1 127.0.0.1:10381",
                "01-foo.example.org i-2 unix:///run/a=b.sock",
                "x y [::1]:1",
            ]
        );
    }

    #[test]
    fn each_faulty_entry_is_told() {
        for text in [
            "",
            "shop=tcp://a:1",
            "shop/=tcp://a:1",
            "/i=tcp://a:1",
            "s/i",
            "s/i=",
            "s/i=a:1",
            "s/i=http://a:1",
            "s/i=tcp://a",
            "s/i=unix://run/x",
            "s/i/j=tcp://a:1",
            "s h/i=tcp://a:1",
            ".s/i=tcp://a:1",
            "g/g=tcp://a:1",
            "s/i=tcp://g:1",
        ] {
            let faults = servers(&format!("g/g=tcp://g:1,{text}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{text}");
        }
        let long = format!("{}/i=tcp://a:1", "x".repeat(101));
        assert!(servers(&long).is_err());
        for text in ["", "zope", "/", "/a/**", "/a/[", "/a\u{7}", "/good"] {
            assert_eq!(deployments(&format!("/good,{text}")).unwrap_err().len(), 1, "{text}");
        }
        assert_eq!(deployments("/home/zope/*, /srv/a b").unwrap(), ["/home/zope/*", "/srv/a b"]);
        assert!(database("-").is_ok() && database("main 7").is_err() && database("").is_err());
    }
}
