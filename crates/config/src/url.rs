//! The URL of a server that speaks HTTP, in parts.

use std::fmt;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::values::{self, Problems, wrong};

/// `http://host:port/path` or `https://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// Whether the scheme is https.
    pub is_tls: bool,
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// The port; 80 or 443 where the URL has none.
    pub port: u16,
    /// Empty, or from its slash on; without a slash at its end.
    pub path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_tls, host, port, path } = self;
        let scheme = if *is_tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

/// Ends of a path that the program appends itself.
const ENDPOINTS: [&str; 2] = ["/write", "/api/v2"];

pub(crate) fn url(text: &str) -> Result<Url, Problems> {
    let example = "one such as http://127.0.0.1:8086";
    // The text may hold a password, which is not repeated.
    if text.contains('@') {
        let right = "it without a user, and name the user and a file of the password in options \
                     of their own";
        return Err(wrong("…@…", "a URL with a user", right));
    }
    if let Some((before, _)) = text.split_once(['?', '#']) {
        return Err(wrong(&format!("{before}?…"), "a URL with a query", "it without ? and #"));
    }
    let (is_tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else {
        return Err(wrong(text, "no URL", example));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if path.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(wrong(text, "a URL whose path has blanks or letters beyond ASCII", example));
    }
    let path = path.trim_end_matches('/');
    if ENDPOINTS.iter().any(|endpoint| path.ends_with(endpoint)) || path.contains("/api/v2/") {
        let right = "it without /write or /api/v2, which the program appends itself";
        return Err(wrong(text, "the URL of a request", right));
    }
    let (host, port) = host_and_port(text, authority)?;
    let default_port = if is_tls { 443 } else { 80 };
    let port = match port {
        None => default_port,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(wrong(text, "a URL with a bad port", "a port from 1 to 65535")),
        },
    };
    Ok(Url { is_tls, host: values::host(&host)?, port, path: path.to_owned() })
}

/// The host without brackets, and the text of the port.
fn host_and_port<'t>(
    text: &str,
    authority: &'t str,
) -> Result<(String, Option<&'t str>), Problems> {
    let (host, rest) = if let Some(rest) = authority.strip_prefix('[') {
        let end = rest.split_once(']');
        let Some((host, rest)) = end.filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok()) else {
            return Err(wrong(text, "no IPv6 address", "one such as http://[::1]:8086"));
        };
        (host, rest)
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    if host.is_empty() {
        return Err(wrong(text, "a URL without a host", "one such as http://127.0.0.1:8086"));
    }
    match rest.strip_prefix(':') {
        Some(port) => Ok((host.to_lowercase(), Some(port))),
        None if rest.is_empty() => Ok((host.to_lowercase(), None)),
        None => Err(wrong(text, "no URL", "one such as http://[::1]:8086")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_back_with_their_port() {
        for (text, expected) in [
            ("http://127.0.0.1:8086", "http://127.0.0.1:8086"),
            ("http://Influx", "http://influx:80"),
            ("https://[::1]/influx/", "https://[::1]:443/influx"),
            ("https://db.example.com:8443/a/b", "https://db.example.com:8443/a/b"),
        ] {
            assert_eq!(url(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_url_is_told_and_a_password_is_not_repeated() {
        for text in [
            "",
            "127.0.0.1:8086",
            "udp://a:8089",
            "http://",
            "http://:8086",
            "http://a:0",
            "http://a:x",
            "http://a:99999",
            "http://[::1",
            "http://[x]:1",
            "http://[::1]x",
            "http://::1:8086",
            "http://a b",
            "http://a/?db=x",
            "http://a#x",
            "http://a/b c",
            "http://a/write",
            "http://a/x/api/v2/",
            "http://a/api/v2/write",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        for text in [
            "http://me:secret@influx:8086",
            "influx://me:secret@h",
            "http://h:8086/?u=me&p=secret",
            "h/write?p=secret",
        ] {
            let problems = url(text).unwrap_err();
            assert!(!format!("{problems:?}").contains("secret"), "{problems:?}");
        }
    }
}
