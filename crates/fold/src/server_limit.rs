//! `max-servers-per-backend`: a backend with more servers than that has no rows of servers.
//!
//! All servers of such a backend are left out, not only those beyond the bound: which ones came
//! first in an answer says nothing, so the kept ones would change from one snapshot to the next.

use std::collections::HashMap;

use model::{Names, Table};

use crate::findings::Oddity;
use crate::row_limit::keep_rows;

/// The servers of a snapshot.
#[derive(Debug, Default)]
pub struct Servers {
    /// Their number in each backend, their rows, and those over all backends if that is configured.
    pub tables: Vec<Table>,
    /// How many servers have no rows because of `max-servers-per-backend`; `None` without that
    /// option.
    pub left_out: Option<u64>,
    /// A finding for each backend that has more servers.
    pub oddities: Vec<Oddity>,
}

/// What the bound leaves out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) servers: u64,
    pub(crate) oddities: Vec<Oddity>,
}

/// Removes the servers of each backend that has more than `most`.
pub(crate) fn apply(servers: &mut Table, most: usize) -> LeftOut {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for backend in backends(&servers.names) {
        *counts.entry(backend).or_default() += 1;
    }
    counts.retain(|_, count| *count > most);
    if counts.is_empty() {
        return LeftOut::default();
    }
    let keep: Vec<bool> =
        backends(&servers.names).map(|backend| !counts.contains_key(backend)).collect();
    let mut oddities: Vec<Oddity> =
        counts.iter().map(|(backend, count)| oddity(backend, *count, most)).collect();
    oddities.sort_by(|one, other| one.subject.cmp(&other.subject));
    let left_out = keep.iter().filter(|keep| !**keep).count() as u64;
    keep_rows(servers, &keep);
    LeftOut { servers: left_out, oddities }
}

/// The backend of each row.
fn backends(names: &Names) -> impl Iterator<Item = &str> {
    (0..names.len()).map(|row| names.label(row, 0).unwrap_or_default())
}

fn oddity(backend: &str, count: usize, most: usize) -> Oddity {
    let text = format!(
        "its {count} servers are left out, because they are more than \
         max-servers-per-backend = {most}; its own metrics and TotalServers stay"
    );
    Oddity::new(backend, "too many servers", text)
}

#[cfg(test)]
mod tests {
    use model::{Column, Fold, Nature, TableKind, Value};

    use super::*;

    /// Servers with their position as `scur`; every third has none.
    fn table(rows: &[[&str; 2]]) -> Table {
        let mut names = Names::new(&TableKind::BackendServer);
        rows.iter().for_each(|row| names.push(row));
        let values = (0..rows.len()).map(|row| (row % 3 != 2).then_some(row as i128));
        let column = Column::integers("scur", Nature::Gauge, Some(Fold::Sum), values);
        Table { kind: TableKind::BackendServer, names, columns: vec![column] }
    }

    fn rows(table: &Table) -> Vec<(String, Option<Value<'_>>)> {
        let row = |row| {
            let name = table.names.row(row).collect::<Vec<_>>().join("/");
            (name, table.columns[0].get(row))
        };
        (0..table.names.len()).map(row).collect()
    }

    #[test]
    fn a_backend_at_the_bound_keeps_its_servers() {
        let whole = table(&[["a", "1"], ["a", "2"], ["b", "1"]]);
        let mut bounded = whole.clone();
        let left_out = apply(&mut bounded, 2);
        assert_eq!((left_out.servers, left_out.oddities), (0, vec![]));
        assert_eq!(bounded, whole);
    }

    /// HAProxy writes the servers of a backend one after the other, but answers of several
    /// processes can hold further ones.
    #[test]
    fn a_backend_above_the_bound_loses_all_its_servers_wherever_they_stand() {
        let mut servers = table(&[["a", "1"], ["b", "1"], ["b", "2"], ["c", "1"], ["a", "2"]]);
        let left_out = apply(&mut servers, 1);
        assert_eq!(rows(&servers), [("c/1".to_owned(), Some(Value::Integer(3)))]);
        assert_eq!(left_out.servers, 4);
        let subjects: Vec<_> = left_out.oddities.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(subjects, ["a", "b"]);
        assert_eq!(
            left_out.oddities[0].text,
            "its 2 servers are left out, because they are more than max-servers-per-backend = 1; \
             its own metrics and TotalServers stay"
        );
        // The state has no figures, so that a backend that grows is not logged again.
        assert!(left_out.oddities.iter().all(|oddity| oddity.state == "too many servers"));
    }

    #[test]
    fn a_table_can_become_empty_and_may_be_empty() {
        let mut servers = table(&[["a", "1"], ["a", "2"]]);
        assert_eq!(apply(&mut servers, 1).servers, 2);
        assert_eq!((servers.names.len(), servers.points()), (0, 0));
        assert_eq!(apply(&mut servers, 1).servers, 0);
    }
}
