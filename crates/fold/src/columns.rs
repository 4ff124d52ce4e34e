//! The planned columns: their names, folds and natures, for columns of newer HAProxies too.
//!
//! The nature of a column that the catalogue lacks comes from the snapshot (`show stat typed`),
//! else from its name. A column whose nature came from its name is an [`Oddity`], so that the log
//! names the rule once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::Nature;
use model::catalog::{self, Choice, Fold, ProxyKind};

use crate::findings::Oddity;

/// Columns of one kind of rows that the catalogue lacks and `all` finds; further ones are left out.
pub(crate) const NEW_COLUMNS_MAX: usize = 128;

/// A column that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) name: Arc<str>,
    pub(crate) fold: Fold,
    pub(crate) nature: Nature,
    /// Whether the catalogue lacks it. Such a column may hold texts, which are no damage.
    pub(crate) is_new: bool,
}

/// The columns of one kind of proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) columns: Vec<Planned>,
    /// Names that the catalogue lacks and the configuration has.
    asked: Vec<Arc<str>>,
    /// The names that `all` leaves out; `None` without `all`.
    pub(crate) all_except: Option<Vec<String>>,
}

impl Planned {
    /// A column of the catalogue, or a key of `show info`.
    pub(crate) fn known(name: &str, fold: Fold) -> Self {
        let nature = catalog::nature(name).or_else(|| catalog::known_daemon_nature(name));
        let nature = nature.unwrap_or_else(|| catalog::daemon_nature(name));
        Self { name: Arc::from(name), fold, nature, is_new: false }
    }

    /// A column that the catalogue lacks; `None` if it cannot be folded.
    pub(crate) fn new_column(name: Arc<str>, natures: &HashMap<String, Nature>) -> Option<Self> {
        let nature = match natures.get(&*name) {
            Some(nature) => *nature,
            None => catalog::nature_of_name(&name),
        };
        Some(Self { fold: nature.fold()?, name, nature, is_new: true })
    }
}

impl Plan {
    /// The columns that the configuration asks for.
    pub(crate) fn new(kind: ProxyKind, selection: &config::Selection) -> Self {
        let mut plan = Self::default();
        let choice = match selection {
            config::Selection::Default => Choice::Default,
            config::Selection::All { except } => {
                plan.all_except = Some(except.clone());
                Choice::All
            }
            config::Selection::Named(names) => {
                let is_new = |name: &&String| !catalog::is_field(name);
                plan.asked = names.iter().filter(is_new).map(|name| name.as_str().into()).collect();
                Choice::Named(names)
            }
        };
        let is_kept = |name: &str| match &plan.all_except {
            Some(except) => !except.iter().any(|left_out| left_out == name),
            None => true,
        };
        let planned = kind.plan(choice).into_iter().filter(|(name, _)| is_kept(name));
        plan.columns = planned.map(|(name, fold)| Planned::known(name, fold)).collect();
        plan
    }

    /// The columns for a snapshot with these natures; `all` finds further ones in its files.
    pub(crate) fn of_snapshot(&self, natures: &HashMap<String, Nature>) -> Vec<Planned> {
        let asked = self.asked.iter().map(Arc::clone);
        let asked = asked.filter_map(|name| Planned::new_column(name, natures));
        self.columns.iter().cloned().chain(asked).collect()
    }
}

/// The answer in which a new name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    ShowInfo,
    ShowStat,
}

impl Source {
    const fn command(self) -> &'static str {
        match self {
            Self::ShowInfo => "show info",
            Self::ShowStat => "show stat",
        }
    }
}

/// What the operator should know about new columns: `columns` were read and `surplus` were not.
pub(crate) fn oddities(
    source: Source,
    columns: &BTreeMap<Arc<str>, Fold>,
    surplus: usize,
    natures: &HashMap<String, Nature>,
    oddities: &mut Vec<Oddity>,
) {
    if surplus > 0 {
        let text = format!(
            "more than {NEW_COLUMNS_MAX} columns of one kind are unknown here; {surplus} of them \
             are left out: name those that you need in the list of metrics"
        );
        oddities.push(Oddity::new(source.command(), "too many new columns", text));
    }
    for (name, fold) in columns {
        if natures.contains_key(&**name) {
            continue;
        }
        let fold = match fold {
            Fold::Sum => "sum",
            Fold::Largest => "largest",
            Fold::Smallest => "smallest",
            Fold::Mean | Fold::MeanWithTraffic => "mean",
        };
        let text = format!(
            "this version does not know this name in {}, so the name decides that it folds to the \
             {fold}",
            source.command()
        );
        oddities.push(Oddity::new(name, "new column", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(columns: &[Planned]) -> Vec<(&str, Fold)> {
        columns.iter().map(|column| (&*column.name, column.fold)).collect()
    }

    #[test]
    fn a_new_name_folds_by_its_typed_nature_or_by_its_name() {
        let asked = ["bin", "new_max", "brand_new", "text"].map(String::from).to_vec();
        let plan = Plan::new(ProxyKind::Frontend, &config::Selection::Named(asked));
        let none = HashMap::new();
        let by_name = [
            ("bin", Fold::Sum),
            ("new_max", Fold::Largest),
            ("brand_new", Fold::Sum),
            ("text", Fold::Sum),
        ];
        assert_eq!(names(&plan.of_snapshot(&none)), by_name);
        let natures = [("brand_new", Nature::Average), ("text", Nature::Other)];
        let natures = natures.map(|(name, nature)| (name.to_owned(), nature)).into();
        let typed = [("bin", Fold::Sum), ("new_max", Fold::Largest), ("brand_new", Fold::Mean)];
        assert_eq!(names(&plan.of_snapshot(&natures)), typed);
    }

    #[test]
    fn all_leaves_out_what_it_is_told() {
        let except = vec!["weight".to_owned(), "bin".to_owned()];
        let plan = Plan::new(ProxyKind::Server, &config::Selection::All { except });
        let columns = plan.of_snapshot(&HashMap::new());
        assert!(columns.iter().all(|column| !matches!(&*column.name, "weight" | "bin")));
        assert!(columns.iter().any(|column| &*column.name == "bout"));
    }
}
