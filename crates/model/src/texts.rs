//! Many texts in one allocation, because a snapshot can have 100,000 servers.

/// Texts in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// The position in `text` at which each text ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// How many texts there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at a position.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        self.text.get(self.begin(index)..end)
    }

    /// All texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| {
            let text = self.text.get(begin..end).unwrap_or_default();
            begin = end;
            text
        })
    }

    /// Bytes of the texts from one position up to another.
    #[must_use]
    pub fn bytes(&self, from: usize, to: usize) -> usize {
        self.begin(to).saturating_sub(self.begin(from))
    }

    /// The texts from one position up to another, one behind the other.
    pub(crate) fn joined(&self, from: usize, to: usize) -> &str {
        self.text.get(self.begin(from)..self.begin(to)).unwrap_or_default()
    }

    /// The position in `text` at which a text begins, which is the end of the text before it.
    fn begin(&self, index: usize) -> usize {
        match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(self.text.len()),
            None => 0,
        }
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.push(text);
        }
        all
    }
}

/// The names of a table's rows, as HAProxy spells them. A row has a name for each label of the
/// table's kind.
///
/// ```
/// use haproxystats_model::{Names, TableKind};
///
/// let mut names = Names::new(&TableKind::BackendServer);
/// names.push(&["www.example.com", "web1"]);
/// assert_eq!(names.len(), 1);
/// assert_eq!(names.label(0, 1), Some("web1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    labels: usize,
    rows: usize,
    texts: Texts,
}

impl Names {
    /// No rows yet.
    #[must_use]
    pub fn new(kind: &crate::TableKind) -> Self {
        Self { labels: kind.labels(), rows: 0, texts: Texts::default() }
    }

    /// Rows whose names are these texts in order, as many as there are rows and labels.
    pub(crate) fn of_texts(kind: &crate::TableKind, rows: usize, texts: Texts) -> Self {
        Self { labels: kind.labels(), rows, texts }
    }

    /// Appends a row. A label without a name in `names` is empty.
    pub fn push(&mut self, names: &[&str]) {
        debug_assert_eq!(names.len(), self.labels, "a row has a name for each label");
        for label in 0..self.labels {
            self.texts.push(names.get(label).copied().unwrap_or_default());
        }
        self.rows += 1;
    }

    /// All names, row by row.
    pub(crate) const fn texts(&self) -> &Texts {
        &self.texts
    }

    /// How many names each row has.
    #[must_use]
    pub const fn labels(&self) -> usize {
        self.labels
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// A row's name under a label.
    #[must_use]
    pub fn label(&self, row: usize, label: usize) -> Option<&str> {
        if label >= self.labels {
            return None;
        }
        self.texts.get(row * self.labels + label)
    }

    /// A row's names.
    pub fn row(&self, row: usize) -> impl Iterator<Item = &str> {
        (0..self.labels).filter_map(move |label| self.label(row, label))
    }

    /// The names of all rows, row by row.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter()
    }

    /// Bytes of the names of the rows from one up to another.
    #[must_use]
    pub fn bytes(&self, from: usize, to: usize) -> usize {
        self.texts.bytes(from * self.labels, to * self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableKind;

    #[test]
    fn names_come_back_row_by_row() {
        let mut names = Names::new(&TableKind::BackendServer);
        let rows = [["be1", "s1"], ["", ""], ["be2", ""]];
        rows.iter().for_each(|row| names.push(row));
        let read: Vec<Vec<&str>> = (0..names.len()).map(|row| names.row(row).collect()).collect();
        assert_eq!(read, rows.map(Vec::from));
        assert_eq!((names.label(3, 0), names.label(0, 2)), (None, None));
        assert_eq!((names.bytes(0, 3), names.bytes(1, 3), names.bytes(0, 1)), (8, 3, 5));
    }

    #[test]
    fn a_row_can_have_no_name() {
        let mut names = Names::new(&TableKind::Daemon);
        names.push(&[]);
        assert_eq!((names.len(), names.row(0).count(), names.bytes(0, 1)), (1, 0, 0));
    }

    #[test]
    fn texts_read_back() {
        let texts: Texts = ["UP", "", "DOWN"].into_iter().collect();
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["UP", "", "DOWN"]);
        assert_eq!((texts.get(2), texts.get(3), texts.bytes(1, 3)), (Some("DOWN"), None, 4));
    }
}
