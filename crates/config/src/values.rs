//! Parsers of values: a text becomes a type in range, or a problem that says what to write.
//!
//! A parser does not know the section and the option; [`crate::reader`] adds the place.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::fault::{Problem, clip};
use crate::typed::{Address, Listen, Retries, Selection};

/// Seconds that a duration may have: about 31 years, which a clock can add without overflow.
const MOST_SECONDS: f64 = 1e9;
/// Seconds that a limit must have, because less would round to 0.
const LEAST_LIMIT: f64 = 0.001;
/// A larger factor would reach the longest pause at once.
const MOST_FACTOR: f64 = 1000.0;
/// Bytes of a part of a path, because carbon makes a directory of each part, and a file system
/// allows 255 bytes for its name. `receivers` shortens longer names of HAProxy to the same length.
const PART_MAX_BYTES: usize = 250;
/// Bytes of a host's name, as in DNS.
const HOST_NAME_MAX_BYTES: usize = 255;

/// The problems of one value; a list can have a problem per entry.
pub(crate) type Problems = Vec<Problem>;

pub(crate) fn wrong(value: &str, what: &'static str, right: impl Into<String>) -> Problems {
    vec![Problem::Value { value: clip(value), what, right: right.into() }]
}

/// One of some words, in any case.
pub(crate) fn word<T: Copy>(
    text: &str,
    what: &'static str,
    words: &[(&str, T)],
) -> Result<T, Problems> {
    let lower = text.to_lowercase();
    for (word, value) in words {
        if *word == lower {
            return Ok(*value);
        }
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let right = match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    };
    Err(wrong(text, what, right))
}

pub(crate) fn boolean(text: &str) -> Result<bool, Problems> {
    match text.to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(wrong(text, "neither yes nor no", "true or false")),
    }
}

/// A whole number within bounds that also fits its type.
pub(crate) fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, Problems> {
    let right = match most {
        u64::MAX => format!("one from {least} on"),
        most => format!("one from {least} to {most}"),
    };
    let Ok(number) = text.parse::<i128>() else {
        return Err(wrong(text, "no whole number", right));
    };
    if let Ok(number) = u64::try_from(number)
        && (least..=most).contains(&number)
        && let Ok(number) = T::try_from(number)
    {
        return Ok(number);
    }
    Err(wrong(text, "out of range", right))
}

pub(crate) fn retries(text: &str) -> Result<Retries, Problems> {
    let right = "one from 0 on, or -1 for no limit";
    match text.parse::<i128>() {
        Ok(-1) => Ok(Retries::Forever),
        Ok(number) => match u32::try_from(number) {
            Ok(times) => Ok(Retries::Times(times)),
            Err(_) => Err(wrong(text, "out of range", right)),
        },
        Err(_) => Err(wrong(text, "no whole number", right)),
    }
}

/// Seconds, 0 too.
pub(crate) fn pause(text: &str) -> Result<Duration, Problems> {
    seconds(text, 0.0, "from 0 to 1000000000 seconds")
}

/// Seconds, more than 0.
pub(crate) fn limit(text: &str) -> Result<Duration, Problems> {
    seconds(text, LEAST_LIMIT, "from 0.001 to 1000000000 seconds")
}

fn seconds(text: &str, least: f64, range: &'static str) -> Result<Duration, Problems> {
    match text.parse::<f64>() {
        // The range excludes infinity and NaN, so the conversion cannot fail.
        Ok(number) if (least..=MOST_SECONDS).contains(&number) => {
            Duration::try_from_secs_f64(number).map_err(|_| wrong(text, "out of range", range))
        }
        Ok(_) => Err(wrong(text, "out of range", range)),
        Err(_) => Err(wrong(text, "no number of seconds", "one such as 0.1")),
    }
}

pub(crate) fn factor(text: &str) -> Result<f64, Problems> {
    let right = "one from 1 to 1000, such as 1.5";
    match text.parse::<f64>() {
        Ok(number) if (1.0..=MOST_FACTOR).contains(&number) => Ok(number),
        Ok(_) => Err(wrong(text, "out of range", right)),
        Err(_) => Err(wrong(text, "no number", right)),
    }
}

pub(crate) fn path(text: &str) -> Result<PathBuf, Problems> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err(wrong(text, "no path", "one such as /var/lib/haproxystats"));
    }
    Ok(PathBuf::from(text))
}

/// A text that goes to a server, such as the name of a database.
pub(crate) fn text(text: &str) -> Result<String, Problems> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err(wrong(text, "no text", "some letters, without control characters"));
    }
    Ok(text.to_owned())
}

/// Parts of a metric's path.
pub(crate) fn prefix(text: &str) -> Result<String, Problems> {
    if text.split('.').any(|part| !is_part(part)) {
        let right = "parts without blanks, and dots between them, such as web.edge";
        return Err(wrong(text, "no part of a metric's path", right));
    }
    let right = format!("parts of at most {PART_MAX_BYTES} bytes, with dots between them");
    parts_fit(text, "a path with a part that is too long for carbon", right)?;
    Ok(text.to_owned())
}

/// The name of a group, in lower case as in a path.
pub(crate) fn group_name(text: &str) -> Result<(), Problems> {
    if text.split('.').any(|part| !is_part(part)) {
        return Err(wrong(text, "no name for a group", "one without blanks, such as front"));
    }
    let right = format!("one of at most {PART_MAX_BYTES} bytes");
    parts_fit(text, "a group's name that is too long for carbon", right)
}

/// Refuses a path if carbon could not make a directory of each of its parts.
fn parts_fit(path: &str, what: &'static str, right: String) -> Result<(), Problems> {
    if path.split('.').any(|part| part.len() > PART_MAX_BYTES) {
        return Err(wrong(path, what, right));
    }
    Ok(())
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A name or an address, an IPv6 address with or without brackets.
pub(crate) fn host(text: &str) -> Result<String, Problems> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if is_ipv6(bare) || (bare == text && is_name(text)) {
        return Ok(bare.to_owned());
    }
    Err(wrong(text, "no host", "a name or an address, without a port"))
}

/// The name of a machine.
pub(crate) fn host_name(text: &str) -> Result<String, Problems> {
    if !is_name(text) || text.len() > HOST_NAME_MAX_BYTES {
        let right = format!(
            "one of letters, digits, dots, - and _, of at most {HOST_NAME_MAX_BYTES} bytes, such \
             as lb1.example.com"
        );
        return Err(wrong(text, "no name of a host", right));
    }
    Ok(text.to_owned())
}

fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(legal)
}

/// An IPv6 address, with the zone that a link-local one needs.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "lo"));
    address.parse::<Ipv6Addr>().is_ok() && is_name(zone)
}

pub(crate) fn servers(text: &str) -> Result<Vec<Address>, Problems> {
    let mut addresses = Vec::new();
    let mut problems = Vec::new();
    for written in text.split(',').map(str::trim) {
        match server(written) {
            Ok(address) if addresses.contains(&address) => {
                problems.push(Problem::ServerTwice { value: written.to_owned() });
            }
            Ok(address) => addresses.push(address),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(addresses) } else { Err(problems) }
}

pub(crate) fn server(written: &str) -> Result<Address, Problems> {
    if let Some(path) = written.strip_prefix("unix://") {
        if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_control) {
            let right = "an absolute path after unix://, such as unix:///run/haproxy/admin.sock";
            return Err(wrong(written, "no path of a socket", right));
        }
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let Some(rest) = written.strip_prefix("tcp://") else {
        let what = if written.is_empty() { "no server" } else { "no address of a stats socket" };
        return Err(wrong(written, what, "unix:///path, tcp://host:port or tcp://[v6]:port"));
    };
    let no_port = || {
        let right = "the port too, such as tcp://127.0.0.1:7000 or tcp://[::1]:7000";
        wrong(written, "an address without a port", right)
    };
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, port) = bracketed.split_once("]:").ok_or_else(no_port)?;
        if !is_ipv6(host) {
            return Err(wrong(written, "no IPv6 address", "one such as tcp://[::1]:7000"));
        }
        (host, port)
    } else {
        let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
        if host.contains(':') {
            let right = "it in brackets, such as tcp://[::1]:7000";
            return Err(wrong(written, "an IPv6 address without brackets", right));
        }
        if !is_name(host) {
            return Err(wrong(written, "an address without a host", "tcp://host:port"));
        }
        (host, port)
    };
    if port.is_empty() {
        return Err(no_port());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Address::Tcp { host: host.to_lowercase(), port }),
        _ => Err(wrong(written, "an address with a bad port", "a port from 1 to 65535")),
    }
}

/// The address of a server of ours: numbers, because a start must not wait for a look-up.
pub(crate) fn listen(text: &str) -> Result<Listen, Problems> {
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_control) {
            let right =
                "an absolute path after unix://, such as unix:///run/haproxystats/pull.sock";
            return Err(wrong(text, "no path of a socket", right));
        }
        return Ok(Listen::Unix(PathBuf::from(path)));
    }
    let right = "address:port, [v6]:port or unix:///path, such as 127.0.0.1:8161";
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
        None => text.parse().ok(),
    };
    match address {
        Some(address) if SocketAddr::port(&address) > 0 => Ok(Listen::Tcp(address)),
        Some(_) => Err(wrong(text, "an address with a bad port", "a port from 1 to 65535")),
        None => Err(wrong(text, "no address to listen on", right)),
    }
}

/// Names that a list of metrics may have; HAProxy has a few hundred columns.
const METRICS_MAX: usize = 1000;

/// The items of a list with commas. `repeats` finds the faults of an item beside those before it.
pub(crate) fn comma_list<T>(
    text: &str,
    item: impl Fn(&str) -> Result<T, Problems>,
    mut repeats: impl FnMut(&str, &T) -> Problems,
) -> Result<Vec<T>, Problems> {
    let (mut items, mut problems) = (Vec::new(), Problems::new());
    for written in text.split(',').map(str::trim) {
        match item(written) {
            Ok(item) => {
                problems.extend(repeats(written, &item));
                items.push(item);
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems) }
}

/// Names of metrics, or `all` and names to leave out of it.
pub(crate) fn metrics(text: &str) -> Result<Selection, Problems> {
    let mut names: Vec<String> = Vec::new();
    let mut except: Vec<String> = Vec::new();
    let mut all = false;
    let mut problems = Vec::new();
    for word in text.split_whitespace() {
        if word == "all" {
            all = true;
            continue;
        }
        let (name, list) = match word.strip_prefix('-') {
            Some(name) => (name, &mut except),
            None => (word, &mut names),
        };
        if !model::catalog::is_name(name) {
            let hint = "; write field names of its CSV statistics with blanks between".to_owned();
            problems.push(Problem::Metric { name: clip(word), hint });
        } else if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }
    if text.is_empty() {
        let right = "names of metrics or all, or leave the option out for the default ones";
        problems.extend(wrong(text, "no list of metrics", right));
    }
    if names.len() + except.len() > METRICS_MAX {
        let right = format!("at most {METRICS_MAX} names, or all");
        problems.extend(wrong(text, "a list of too many metrics", right));
    }
    if let Some(name) = except.first()
        && !all
    {
        let written = format!("-{name}");
        let right = "all before it, because only that list has names to leave out";
        problems.extend(wrong(&written, "a name to leave out of no list", right));
    }
    match problems.is_empty() {
        true if all => Ok(Selection::All { except }),
        true => Ok(Selection::Named(names)),
        false => Err(problems),
    }
}
