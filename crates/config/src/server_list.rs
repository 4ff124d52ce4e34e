//! The servers of a `[graphite]`: `host`, `host:port`, `[v6]:port` and `unix:///path`.

use std::path::PathBuf;

use crate::fault::Problem;
use crate::typed::Address;
use crate::values::{Problems, host, wrong};

/// Servers of a list; each can cost a batch `connect-timeout`.
const SERVERS_MAX: usize = 16;

/// A server as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WrittenServer {
    Unix(PathBuf),
    Tcp {
        host: String,
        /// `None` is the option `port`.
        port: Option<u16>,
    },
}

pub(crate) fn server_list(text: &str) -> Result<Vec<WrittenServer>, Problems> {
    let mut servers = Vec::new();
    let mut problems = Problems::new();
    for written in text.split(',').map(str::trim) {
        match server(written) {
            Ok(server) => servers.push(server),
            Err(more) => problems.extend(more),
        }
    }
    if servers.len() > SERVERS_MAX {
        problems.extend(wrong(text, "a list that is too long", format!("{SERVERS_MAX} at most")));
    }
    if problems.is_empty() { Ok(servers) } else { Err(problems) }
}

fn server(written: &str) -> Result<WrittenServer, Problems> {
    if let Some(path) = written.strip_prefix("unix://") {
        if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_control) {
            let right = "an absolute path after unix://, such as unix:///run/relay.sock";
            return Err(wrong(written, "no path of a socket", right));
        }
        return Ok(WrittenServer::Unix(PathBuf::from(path)));
    }
    // A name or an address alone, an IPv6 address with or without brackets.
    if let Ok(host) = host(written) {
        return Ok(WrittenServer::Tcp { host, port: None });
    }
    let no_server = || wrong(written, "no server", "host, host:port, [v6]:port or unix:///path");
    let (name, port) = written.rsplit_once(':').ok_or_else(no_server)?;
    if name.contains(':') && !name.starts_with('[') {
        return Err(no_server());
    }
    let host = host(name).map_err(|_| no_server())?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(WrittenServer::Tcp { host, port: Some(port) }),
        _ => Err(wrong(written, "an address with a bad port", "a port from 1 to 65535")),
    }
}

/// The addresses of a list, with the port of those that have none.
pub(crate) fn addresses(servers: Vec<WrittenServer>, port: u16) -> Result<Vec<Address>, Problem> {
    let mut addresses = Vec::new();
    for server in servers {
        let address = match server {
            WrittenServer::Unix(path) => Address::Unix(path),
            WrittenServer::Tcp { host, port: own } => {
                Address::Tcp { host, port: own.unwrap_or(port) }
            }
        };
        if addresses.contains(&address) {
            return Err(Problem::ServerTwice { value: address.to_string() });
        }
        addresses.push(address);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let addresses = addresses(server_list(text).unwrap(), 2003).unwrap();
        addresses.iter().map(Address::to_string).collect()
    }

    #[test]
    fn every_form_is_read_and_port_is_the_default() {
        assert_eq!(
            read("a.example.com, b:2004,[::1]:2005 ,[::2],fe80::1%eth0, unix:///run/a b.sock"),
            [
                "a.example.com:2003",
                "b:2004",
                "[::1]:2005",
                "[::2]:2003",
                "[fe80::1%eth0]:2003",
                "unix:///run/a b.sock"
            ]
        );
    }

    #[test]
    fn each_faulty_server_is_told() {
        for text in
            ["", "a b", "a:", "a:0", "a:65536", "[::1", "[::1]:", "::g:1", "unix://run/x", "a:b:1"]
        {
            let problems = server_list(&format!("good, {text}")).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}");
        }
        let many: Vec<String> = (0..17).map(|number| format!("s{number}")).collect();
        assert_eq!(server_list(&many.join(",")).unwrap_err().len(), 1);
    }

    #[test]
    fn the_same_server_twice_is_a_fault_whatever_its_spelling() {
        addresses(server_list("a, a:2004").unwrap(), 2003).unwrap();
        addresses(server_list("a, a:2003").unwrap(), 2003).unwrap_err();
        addresses(server_list("[::1],::1").unwrap(), 2003).unwrap_err();
    }
}
