//! The path of a line: namespace, host, group, then the kind and the names of the row.

use model::{SnapshotId, TableKind, clean};

use super::part::shortened;
use crate::groups::{GroupRules, GroupSections, InvalidPattern};

/// The paths that the configuration asks for.
#[derive(Debug)]
pub struct Paths {
    namespace: String,
    host: config::HostPart,
    grouping: Option<Grouping>,
    max_line: Option<usize>,
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
        Ok(Self { namespace, host, grouping, max_line })
    }

    /// Bytes of the longest line.
    pub(super) fn line_max_bytes(&self) -> usize {
        self.max_line.unwrap_or(usize::MAX)
    }

    /// The first parts of all paths of a snapshot: `<namespace>[.<host>].haproxy`, where the host
    /// is the snapshot's origin.
    pub(super) fn prefix(&self, id: &SnapshotId) -> String {
        let namespace = &self.namespace;
        let host = match self.host {
            config::HostPart::None => return format!("{namespace}.haproxy"),
            config::HostPart::Short => id.origin.split('.').next().unwrap_or_default(),
            config::HostPart::Full => &id.origin,
        };
        format!("{namespace}.{}.haproxy", clean::segment(host))
    }

    pub(super) fn double_writes(&self) -> bool {
        self.grouping.as_ref().is_some_and(|grouping| grouping.double_writes)
    }

    /// The rules for the first label of a kind's rows.
    pub(super) fn groups_of(&self, kind: TableKind) -> Option<&GroupRules> {
        self.grouping.as_ref()?.sections.of_kind(kind)
    }

    /// Appends the parts of a row's path between the prefix and the metric, with the group's parts
    /// if there is a group. `names` are clean.
    pub(super) fn push_row(
        &self,
        kind: TableKind,
        names: &[String],
        group: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let mut push = |part: &str| {
            out.push(b'.');
            out.extend_from_slice(part.as_bytes());
        };
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
