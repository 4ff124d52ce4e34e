//! The rows of old workers.

use super::Rows;

impl Rows {
    /// Rows of old workers whose proxy or server a current process has too.
    pub(crate) fn superseded(&self) -> Vec<u32> {
        if self.old.is_empty() {
            return Vec::new();
        }
        let most = self.codes.iter().max().map_or(0, |most| *most as usize + 1);
        let mut is_current = vec![false; most];
        let mut old = self.old.iter().copied().peekable();
        for (row, &code) in (0..).zip(&self.codes) {
            while old.next_if(|(_, end)| *end <= row).is_some() {}
            let is_old = old.peek().is_some_and(|(begin, _)| *begin <= row);
            is_current[code as usize] |= !is_old;
        }
        let old = self.old.iter().flat_map(|(begin, end)| *begin..*end);
        old.filter(|row| is_current[self.codes[*row as usize] as usize]).collect()
    }
}
