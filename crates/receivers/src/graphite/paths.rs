//! The path of a line: namespace, host, group, then the kind and the names of the row. With tags
//! the path has namespace and kind, and host, group and names are tags.

use model::layout::{Layout, PathPart};
use model::{SnapshotId, TableKind, clean};

use super::part::shortened;
use super::spelling::Spelling;
use crate::groups::{GroupRules, GroupSections, InvalidPattern};

/// The paths that the configuration asks for.
#[derive(Debug)]
pub struct Paths {
    namespace: String,
    host: config::HostPart,
    grouping: Option<Grouping>,
    max_line: Option<usize>,
    has_tags: bool,
}

#[derive(Debug)]
struct Grouping {
    namespace: String,
    double_writes: bool,
    sections: GroupSections,
}

impl Paths {
    /// Compiles the groups.
    ///
    /// # Errors
    ///
    /// A group's pattern does not compile; the configuration refuses such a pattern earlier.
    pub fn new(naming: &config::Naming) -> Result<Self, InvalidPattern> {
        let grouping = match &naming.groups {
            Some(groups) => Some(Grouping {
                namespace: groups.namespace.clone(),
                double_writes: groups.double_writes,
                sections: GroupSections::compile(&groups.rules)?,
            }),
            None => None,
        };
        let (namespace, host, max_line) = (naming.namespace.clone(), naming.host, naming.max_line);
        Ok(Self { namespace, host, grouping, max_line, has_tags: naming.tags })
    }

    /// Bytes of the longest line that the receiver takes; `None` is no bound.
    #[must_use]
    pub const fn max_line(&self) -> Option<usize> {
        self.max_line
    }

    /// Bytes of the longest line.
    pub(super) fn line_max_bytes(&self) -> usize {
        self.max_line.unwrap_or(usize::MAX)
    }

    /// The form of names.
    pub(super) const fn spelling(&self) -> Spelling {
        if self.has_tags { Spelling::Value } else { Spelling::Part }
    }

    /// The first parts of all paths of a snapshot: `<namespace>[.<host>]`, or with tags
    /// `<namespace>`.
    pub(super) fn prefix(&self, id: &SnapshotId) -> String {
        let namespace = &self.namespace;
        match self.host(id) {
            Some(host) if !self.has_tags => format!("{namespace}.{host}"),
            _ => namespace.clone(),
        }
    }

    /// Appends the part that follows in all paths of HAProxy's tables and of our own. A layout has
    /// all of its parts in its path.
    pub(super) fn push_program(&self, kind: &TableKind, out: &mut Vec<u8>) {
        if !matches!(kind, TableKind::Other(_)) {
            out.extend_from_slice(b".haproxy");
        }
    }

    /// The host in a line: the snapshot's origin, whole or up to its first dot, made a name.
    pub(super) fn host(&self, id: &SnapshotId) -> Option<String> {
        let host = match self.host {
            config::HostPart::None => return None,
            config::HostPart::Short => id.origin.split('.').next().unwrap_or_default(),
            config::HostPart::Full => &id.origin,
        };
        let mut clean = String::new();
        self.spelling().push(host, &mut clean);
        Some(clean)
    }

    /// The group of a row: the first name decides. Patterns are for clean names, with tags too.
    pub(super) fn group_of<'a>(&self, rules: &'a GroupRules, name: &str) -> Option<&'a str> {
        if self.has_tags { rules.of(&clean::segment(name)) } else { rules.of(name) }
    }

    pub(super) fn double_writes(&self) -> bool {
        self.grouping.as_ref().is_some_and(|grouping| grouping.double_writes)
    }

    /// The rules for the first label of a kind's rows.
    pub(super) fn groups_of(&self, kind: &TableKind) -> Option<&GroupRules> {
        self.grouping.as_ref()?.sections.of_kind(kind)
    }

    /// Appends the tags of a row and the blank that ends a path; nothing without tags. Their order
    /// is that of the alphabet, and each row of a kind has the same ones.
    pub(super) fn push_tags(
        &self,
        kind: &TableKind,
        names: &[String],
        group: Option<&str>,
        host: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        if !self.has_tags {
            return;
        }
        if let TableKind::Other(layout) = kind {
            return push_layout_tags(layout, names, host, out);
        }
        let labels = labels(kind);
        // The configuration allows more characters in a group's name than a tag has.
        let group = group.map(|group| {
            let mut value = String::new();
            self.spelling().push(group, &mut value);
            value
        });
        for tag in ["backend", "frontend", "group", "host", "process", "server"] {
            let value = match tag {
                "group" => group.as_deref(),
                "host" => host,
                _ => {
                    let at = labels.iter().position(|label| *label == tag);
                    at.and_then(|at| names.get(at)).map(String::as_str)
                }
            };
            if let Some(value) = value {
                push_tag(tag, value, out);
            }
        }
        out.push(b' ');
    }

    /// Appends the parts of a row's path between the prefix and the metric, with the group's parts
    /// if there is a group. `names` are clean.
    pub(super) fn push_row(
        &self,
        kind: &TableKind,
        names: &[String],
        group: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let mut push = |part: &str| {
            out.push(b'.');
            out.extend_from_slice(part.as_bytes());
        };
        if let TableKind::Other(layout) = kind {
            for part in &layout.path {
                match part {
                    PathPart::Text(text) => push(text),
                    PathPart::Label(_) if self.has_tags => {}
                    PathPart::Label(at) => push(&shortened(names.get(*at).map_or("", |it| it))),
                }
            }
            return out.push(b'.');
        }
        if self.has_tags {
            push(tagged_part(kind));
            return out.push(b'.');
        }
        if let Some(grouping) = &self.grouping
            && let Some(group) = group
        {
            push(&grouping.namespace);
            push(group);
        }
        // A template has a fixed part before each name.
        let template: &[&str] = match kind {
            TableKind::Daemon => &["daemon"],
            TableKind::Process => &["daemon.process"],
            TableKind::Frontend => &["frontend"],
            TableKind::Backend | TableKind::ServerCount => &["backend"],
            TableKind::BackendServer => &["backend", "server"],
            TableKind::Server => &["server"],
            TableKind::Own => &["haproxystats"],
            TableKind::Other(_) => &[],
        };
        for (at, fixed) in template.iter().enumerate() {
            push(fixed);
            if let Some(name) = names.get(at) {
                push(&shortened(name));
            }
        }
        out.push(b'.');
    }
}

fn push_tag(name: &str, value: &str, out: &mut Vec<u8>) {
    for text in [";", name, "=", &shortened(value)] {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends the tags of a row that has a layout, in the order of the alphabet, and the blank.
fn push_layout_tags(layout: &Layout, names: &[String], host: Option<&str>, out: &mut Vec<u8>) {
    let labels = layout.labels.iter().zip(names).map(|(tag, name)| (tag.as_str(), name.as_str()));
    let mut tags: Vec<_> = labels.chain(host.map(|host| ("host", host))).collect();
    tags.sort_by_key(|(tag, _)| *tag);
    for (tag, value) in tags {
        push_tag(tag, value, out);
    }
    out.push(b' ');
}

/// The tags of the names of a kind that has no layout.
const fn labels(kind: &TableKind) -> &'static [&'static str] {
    match kind {
        TableKind::Daemon | TableKind::Own | TableKind::Other(_) => &[],
        TableKind::Process => &["process"],
        TableKind::Frontend => &["frontend"],
        TableKind::Backend | TableKind::ServerCount => &["backend"],
        TableKind::BackendServer => &["backend", "server"],
        TableKind::Server => &["server"],
    }
}

/// The part of a path that tells the kind, with tags. A server over all backends has one of its
/// own: else a sum over `server` would count its servers twice.
const fn tagged_part(kind: &TableKind) -> &'static str {
    match kind {
        TableKind::Daemon => "daemon",
        TableKind::Process => "process",
        TableKind::Frontend => "frontend",
        TableKind::Backend | TableKind::ServerCount => "backend",
        TableKind::BackendServer => "server",
        TableKind::Server => "aggr-server",
        TableKind::Own => "haproxystats",
        TableKind::Other(_) => "",
    }
}
