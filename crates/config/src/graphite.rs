//! `[graphite]` and `[graphite:name]`: the options that only this kind of receiver has.

use std::time::Duration;

use crate::fault::{Fault, Problem};
use crate::groups::GroupSections;
use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::receivers::{Context, ENABLED};
use crate::server_list::{self, WrittenServer};
use crate::tls;
use crate::typed::{Address, Cluster, Confirm, Graphite, Groups, HostPart, Naming, ReceiverKind};

pub(crate) const SECTION: &str = "graphite";

const SERVER: Opt<Vec<WrittenServer>> = Opt::new(
    "server",
    kind::SERVER_LIST,
    "127.0.0.1",
    "Graphite's plaintext receiver, or several of one cluster",
);
const PORT: Opt<u16> = Opt::new(
    "port",
    kind::PORT,
    "3002",
    "port of a server that is listed without one; carbon's own default is 2003",
);
const CLUSTER: Opt<Cluster> = Opt::new(
    "cluster",
    kind::CLUSTER,
    "failover",
    "of several servers the first that works, or any (each in turn)",
);
const CONNECT_TIMEOUT: Opt<Duration> =
    Opt::new("connect-timeout", kind::LIMIT, "1", "limit of one try to connect");
const WRITE_TIMEOUT: Opt<Duration> = Opt::new(
    "write-timeout",
    kind::LIMIT,
    "1",
    "a server that accepts no byte for this long is given up",
);
const CONFIRM: Opt<Confirm> =
    Opt::new("confirm", kind::CONFIRM, "close", "when a batch counts as delivered");
const CONFIRM_TIMEOUT: Opt<Duration> =
    Opt::new("confirm-timeout", kind::LIMIT, "60", "limit of the wait for that");
const NAMESPACE: Opt<String> =
    Opt::new("namespace", kind::PREFIX, "loadbalancers", "first part of every path");
const PREFIX_HOSTNAME: Opt<bool> =
    Opt::new("prefix-hostname", kind::BOOLEAN, "true", "whether the machine's name follows it");
const FQDN: Opt<bool> =
    Opt::new("fqdn", kind::BOOLEAN, "true", "the whole name; false: up to its first dot");
const TLS: Opt<bool> =
    Opt::new("tls", kind::BOOLEAN, "false", "whether connections are made by TLS");
const TAGS: Opt<bool> = Opt::new(
    "tags",
    kind::BOOLEAN,
    "false",
    "whether names are tags of Graphite 1.1 in place of path parts",
);
const MAX_LINE: Opt<usize> = Opt::new(
    "max-line",
    kind::LINE_BYTES,
    "16384",
    "longer lines are left out and counted; carbon closes the connection on them",
);
const GROUPS: Opt<bool> =
    Opt::new("groups", kind::BOOLEAN, "true", "whether the sections of groups hold here");
const GROUP_NAMESPACE: Opt<String> =
    Opt::unset("group-namespace", kind::PREFIX, "path part before a group's name");
const GROUP_NAMESPACE_DOUBLE_WRITES: Opt<bool> = Opt::unset(
    "group-namespace-double-writes",
    kind::BOOLEAN,
    "grouped lines on their plain paths, too",
);

pub(crate) const OPTIONS: &[KnownOption] = &[
    SERVER.row,
    PORT.row,
    CLUSTER.row,
    CONNECT_TIMEOUT.row,
    WRITE_TIMEOUT.row,
    CONFIRM.row,
    CONFIRM_TIMEOUT.row,
    NAMESPACE.row,
    PREFIX_HOSTNAME.row,
    FQDN.row,
    TAGS.row,
    MAX_LINE.row,
    TLS.row,
    tls::ROWS[0],
    tls::ROWS[1],
    tls::ROWS[2],
    tls::ROWS[3],
    GROUPS.row,
    GROUP_NAMESPACE.row,
    GROUP_NAMESPACE_DOUBLE_WRITES.row,
];

/// Reads the options of this kind.
pub(crate) fn graphite(
    reader: &mut Reader<'_, '_>,
    context: &Context<'_>,
) -> Result<ReceiverKind, Rejection> {
    // An error is returned only after the other options, so that one run reports their faults too.
    let is_on = reader.value(&ENABLED)?;
    let naming = naming(reader, &context.groups, is_on);
    let servers = servers(reader);
    let confirm = reader.value(&CONFIRM)?;
    let is_tls = reader.value(&TLS)?;
    let tls = tls::tls(reader, is_tls);
    Ok(ReceiverKind::Graphite(Graphite {
        cluster: reader.value(&CLUSTER)?,
        connect_timeout: reader.value(&CONNECT_TIMEOUT)?,
        write_timeout: reader.value(&WRITE_TIMEOUT)?,
        confirm,
        confirm_timeout: reader.value(&CONFIRM_TIMEOUT)?,
        servers: check_servers(reader, servers?, confirm, is_tls)?,
        tls: tls?,
        naming: naming?,
    }))
}

/// The options of a line's path but for groups.
pub(crate) const PATH_ROWS: [KnownOption; 3] = [NAMESPACE.row, PREFIX_HOSTNAME.row, FQDN.row];

/// Reads the options of a line's path, for a receiver that has no groups.
pub(crate) fn paths(reader: &mut Reader<'_, '_>) -> Result<Naming, Rejection> {
    let namespace = reader.value(&NAMESPACE)?;
    let host = match (reader.value(&PREFIX_HOSTNAME)?, reader.value(&FQDN)?) {
        (false, _) => HostPart::None,
        (true, false) => HostPart::Short,
        (true, true) => HostPart::Full,
    };
    Ok(Naming { namespace, host, groups: None, tags: false, max_line: None })
}

fn servers(reader: &mut Reader<'_, '_>) -> Result<Vec<Address>, Rejection> {
    let (written, port) = (reader.value(&SERVER)?, reader.value(&PORT)?);
    server_list::addresses(written, port).map_err(|problem| reader.refuse(&SERVER, problem))
}

/// Refuses a confirmation that a server of the list cannot give, and TLS over a UNIX socket.
fn check_servers(
    reader: &mut Reader<'_, '_>,
    servers: Vec<Address>,
    confirm: Confirm,
    is_tls: bool,
) -> Result<Vec<Address>, Rejection> {
    if is_tls && confirm != Confirm::Close {
        let why =
            "with tls = true only close shows that the server took the batch, because it can \
                   refuse our certificate after our writes; write close, or leave it out"
                .to_owned();
        return Err(reader.refuse(&CONFIRM, Problem::Conflict { why }));
    }
    let unix = servers.iter().find(|address| matches!(address, Address::Unix(_)));
    if let Some(unix) = unix
        && confirm == Confirm::Tcp
    {
        let why = format!(
            "tcp asks the kernel of the receiver for its acknowledgement, and {unix} is a UNIX \
             socket, which has none; write close or none"
        );
        return Err(reader.refuse(&CONFIRM, Problem::Conflict { why }));
    }
    if let Some(unix) = unix
        && is_tls
    {
        let why = format!(
            "{unix} is a UNIX socket, which needs no TLS; leave it out, or put that server into a \
             section of its own"
        );
        return Err(reader.refuse(&TLS, Problem::Conflict { why }));
    }
    Ok(servers)
}

/// Reads the options that determine a line's path and its bound. If nothing is sent under such a
/// path, the groups need no `group-namespace`: they may be there for another kind of receiver.
pub(crate) fn naming(
    reader: &mut Reader<'_, '_>,
    groups: &GroupSections<'_>,
    is_used: bool,
) -> Result<Naming, Rejection> {
    let naming = paths(reader)?;
    let (tags, max_line) = (reader.value(&TAGS)?, Some(reader.value(&MAX_LINE)?));
    let groups =
        if tags { tag_groups(reader, groups) } else { groups_of(reader, groups, is_used) }?;
    Ok(Naming { groups, tags, max_line, ..naming })
}

/// With tags a group is the tag `group`, so a part of the path and a second path have no meaning.
fn tag_groups(
    reader: &mut Reader<'_, '_>,
    sections: &GroupSections<'_>,
) -> Result<Option<Groups>, Rejection> {
    let switched_on = reader.value(&GROUPS)?;
    let double_writes = reader.optional(&GROUP_NAMESPACE_DOUBLE_WRITES);
    let why = || Problem::Conflict {
        why: "with tags = true a group is the tag group of the same series; leave this out, or \
              leave tags out"
            .to_owned(),
    };
    if reader.is_set(&GROUP_NAMESPACE) {
        return Err(reader.refuse(&GROUP_NAMESPACE, why()));
    }
    if double_writes == Some(true) {
        return Err(reader.refuse(&GROUP_NAMESPACE_DOUBLE_WRITES, why()));
    }
    if !switched_on || sections.first.is_none() {
        return Ok(None);
    }
    let (namespace, double_writes) = (String::new(), false);
    Ok(Some(Groups { namespace, double_writes, rules: sections.rules.clone()? }))
}

fn groups_of(
    reader: &mut Reader<'_, '_>,
    sections: &GroupSections<'_>,
    is_used: bool,
) -> Result<Option<Groups>, Rejection> {
    let switched_on = reader.value(&GROUPS)?;
    let namespace = reader.optional(&GROUP_NAMESPACE);
    // Checked even if it has no effect.
    reader.optional(&GROUP_NAMESPACE_DOUBLE_WRITES);
    if !switched_on {
        return Ok(None);
    }
    if !reader.is_set(&GROUP_NAMESPACE) {
        let Some(first) = sections.first else { return Ok(None) };
        if !is_used {
            return Ok(None);
        }
        let section = reader.section();
        let why = format!(
            "the groups need a group-namespace; set it in [{section}], write groups = false \
             there, or leave this section out"
        );
        reader.record(Fault {
            place: first.place.clone(),
            section: Some(first.name.clone()),
            option: None,
            problem: Problem::Conflict { why },
        });
        return Err(Rejection);
    }
    let double_writes = reader.value(&GROUP_NAMESPACE_DOUBLE_WRITES);
    if sections.first.is_none() {
        let why = "there are no groups; add [frontend-groups], [backend-groups] or \
                   [server-groups] with NAME = REGEX, or leave it out"
            .to_owned();
        return Err(reader.refuse(&GROUP_NAMESPACE, Problem::Conflict { why }));
    }
    Ok(Some(Groups {
        namespace: namespace.ok_or(Rejection)?,
        double_writes: double_writes?,
        rules: sections.rules.clone()?,
    }))
}
