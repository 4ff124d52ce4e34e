//! The simulated disk of the outbox: folders of batches, power cuts, and a disk that is full.

use std::collections::BTreeMap;

use haproxystats_processor::core::{Folder, OutboxFile};
use haproxystats_processor::entry::EntryName;

/// Bytes of each batch.
pub(crate) const ENTRY_BYTES: u64 = 4096;

#[derive(Debug, Clone)]
struct Batch {
    content: u64,
    is_synced: bool,
}

/// See the module. The content of a batch is a number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    folders: BTreeMap<String, BTreeMap<EntryName, Batch>>,
    pub(crate) is_full: bool,
}

impl Disk {
    /// Links a batch into the first `done` of its folders: fewer than all if the child dies
    /// meanwhile. The error is `None` on a full disk, or says which batch would be replaced.
    pub(crate) fn hold(
        &mut self,
        content: u64,
        entry: &EntryName,
        folders: &[String],
        sync: bool,
        done: usize,
    ) -> Result<(), Option<String>> {
        if self.is_full {
            return Err(None);
        }
        let is_synced = sync && done >= folders.len();
        for folder in folders.iter().take(done) {
            let batches = self.folders.entry(folder.clone()).or_default();
            if batches.insert(entry.clone(), Batch { content, is_synced }).is_some() {
                return Err(Some(format!("{entry} takes the place of another")));
            }
        }
        Ok(())
    }

    pub(crate) fn load(&self, folder: &str, entry: &EntryName) -> Option<u64> {
        Some(self.folders.get(folder)?.get(entry)?.content)
    }

    pub(crate) fn drop(&mut self, folder: &str, entries: &[EntryName]) {
        if let Some(batches) = self.folders.get_mut(folder) {
            batches.retain(|name, _| !entries.contains(name));
        }
    }

    pub(crate) fn list(&self) -> Vec<Folder> {
        let file = |entry: &EntryName| OutboxFile { entry: entry.clone(), size_bytes: ENTRY_BYTES };
        let folders = self.folders.iter().filter(|(_, batches)| !batches.is_empty());
        let folder = |(name, batches): (&String, &BTreeMap<EntryName, Batch>)| Folder {
            name: name.clone(),
            files: batches.keys().map(file).collect(),
        };
        folders.map(folder).collect()
    }

    /// Removes some of the batches that were not synced.
    pub(crate) fn cut_power(&mut self, mut is_lost: impl FnMut() -> bool) {
        for batches in self.folders.values_mut() {
            batches.retain(|_, batch| batch.is_synced || !is_lost());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.values().all(BTreeMap::is_empty)
    }

    /// For a mutant: exchanges the contents of a batch and of a later one of its second, if there
    /// is one.
    pub(crate) fn swap_with_later(&mut self, folder: &str, entry: &EntryName) {
        let Some(batches) = self.folders.get_mut(folder) else { return };
        let is_later = |name: &&EntryName| {
            name.timestamp.seconds() == entry.timestamp.seconds() && *name > entry
        };
        let Some(later) = batches.keys().find(is_later).cloned() else { return };
        let content = |name: &EntryName| batches.get(name).map(|batch| batch.content);
        let (Some(first), Some(second)) = (content(entry), content(&later)) else { return };
        for (name, content) in [(entry, second), (&later, first)] {
            if let Some(batch) = batches.get_mut(name) {
                batch.content = content;
            }
        }
    }
}
