//! The natures of new columns, of all endpoints together.

use std::collections::BTreeMap;

use sources::haproxy::natures::Natures;
use spool::manifest::NATURES_MAX;

/// The natures of all endpoints; the first endpoint by name counts where they differ.
pub(super) fn merged(of_endpoints: BTreeMap<String, Natures>) -> Natures {
    let mut all = Natures::new();
    for (name, nature) in of_endpoints.into_values().flatten() {
        if all.len() < NATURES_MAX {
            all.entry(name).or_insert(nature);
        }
    }
    all
}

/// The natures as a manifest has them.
pub(super) fn names(natures: &Natures) -> BTreeMap<String, String> {
    natures.iter().map(|(name, nature)| (name.clone(), nature.name().to_owned())).collect()
}
