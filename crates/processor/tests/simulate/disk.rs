//! The disk of the outbox, simulated: folders of batches, what of them outlives a power cut, and a
//! disk that is full.

use std::collections::BTreeMap;

use haproxystats_processor::core::Listed;
use haproxystats_processor::entry::EntryName;

/// Bytes of any batch.
pub(crate) const ENTRY_BYTES: u64 = 4096;

#[derive(Debug, Clone)]
struct Held {
    content: u64,
    is_synced: bool,
}

/// See the module. A batch is known by a number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    folders: BTreeMap<String, BTreeMap<EntryName, Held>>,
    pub(crate) is_full: bool,
}

impl Disk {
    /// Links a batch into folders. A child that dies meanwhile has done the first `done` of them.
    /// Returns whether there was room, and a name that was taken already.
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
            let held = self.folders.entry(folder.clone()).or_default();
            if held.insert(entry.clone(), Held { content, is_synced }).is_some() {
                return Err(Some(format!("{entry} takes the place of another")));
            }
        }
        Ok(())
    }

    pub(crate) fn load(&self, folder: &str, entry: &EntryName) -> Option<u64> {
        Some(self.folders.get(folder)?.get(entry)?.content)
    }

    pub(crate) fn drop(&mut self, folder: &str, entries: &[EntryName]) {
        if let Some(held) = self.folders.get_mut(folder) {
            entries.iter().for_each(|entry| {
                held.remove(entry);
            });
        }
    }

    pub(crate) fn list(&self) -> Vec<(String, Vec<Listed>)> {
        let listed = |entry: &EntryName| Listed { entry: entry.clone(), size_bytes: ENTRY_BYTES };
        let folders = self.folders.iter().filter(|(_, held)| !held.is_empty());
        folders.map(|(name, held)| (name.clone(), held.keys().map(listed).collect())).collect()
    }

    /// What was not synced may be lost.
    pub(crate) fn cut_power(&mut self, mut is_lost: impl FnMut() -> bool) {
        for held in self.folders.values_mut() {
            held.retain(|_, held| held.is_synced || !is_lost());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.values().all(BTreeMap::is_empty)
    }

    /// For a mutant: exchanges a batch with a later one of its second, if there is one.
    pub(crate) fn swap_with_later(&mut self, folder: &str, entry: &EntryName) -> bool {
        let Some(held) = self.folders.get_mut(folder) else { return false };
        let seconds = entry.timestamp.seconds();
        let mut later =
            held.iter().filter(|(name, _)| name.timestamp.seconds() == seconds && *name > entry);
        let Some((later, content)) = later.next().map(|(name, held)| (name.clone(), held.content))
        else {
            return false;
        };
        let before = held.get_mut(entry).map(|held| std::mem::replace(&mut held.content, content));
        if let (Some(held), Some(before)) = (held.get_mut(&later), before) {
            held.content = before;
        }
        true
    }
}
