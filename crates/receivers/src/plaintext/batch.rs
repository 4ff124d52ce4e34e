//! A whole batch as lines, by the piece: they are made when they are read, so that nobody holds them all.

use std::io::{self, BufRead, Read};

use model::section::Batch;

use super::{Paths, SectionLines};
use crate::Lines;

/// A batch as [`Lines`], made when they are read and as they are read: they are ten times the size of the batch, so that nobody
/// should hold them all.
#[derive(Debug)]
pub struct BatchLines<'a> {
    batch: &'a Batch,
    paths: &'a Paths,
}

impl<'a> BatchLines<'a> {
    /// The lines of all sections of `batch`.
    #[must_use]
    pub const fn new(batch: &'a Batch, paths: &'a Paths) -> Self {
        Self { batch, paths }
    }

    /// How many lines there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let sections = self.batch.sections.iter();
        let metrics = sections.clone().map(|section| section.count() as u64).sum();
        if !self.paths.double_writes() {
            return metrics;
        }
        let again = |section| SectionLines::new(section, self.paths, "").count_grouped();
        metrics + sections.map(again).sum::<u64>()
    }
}

impl Lines for BatchLines<'_> {
    fn bytes(&self) -> Option<u64> {
        None
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        let sections = self.batch.sections.iter();
        let mut sections =
            sections.map(|section| SectionLines::new(section, self.paths, &self.batch.timestamp));
        Ok(Box::new(Chunks {
            current: sections.next(),
            sections,
            chunk: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8),
            at: 0,
        }))
    }
}

/// Bytes that are made at once: with the row that passes it a chunk is still one write of 256 KiB.
const CHUNK_BYTES: usize = 240 * 1024;

/// Lines by the chunk.
struct Chunks<'a, I> {
    sections: I,
    current: Option<SectionLines<'a>>,
    chunk: Vec<u8>,
    at: usize,
}

impl<'a, I: Iterator<Item = SectionLines<'a>>> Chunks<'a, I> {
    fn refill(&mut self) {
        self.chunk.clear();
        self.at = 0;
        while self.chunk.len() < CHUNK_BYTES
            && let Some(section) = &mut self.current
        {
            if !section.push_row(&mut self.chunk) {
                self.current = self.sections.next();
            }
        }
    }
}

impl<'a, I: Iterator<Item = SectionLines<'a>>> BufRead for Chunks<'a, I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.chunk.len() {
            self.refill();
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl<'a, I: Iterator<Item = SectionLines<'a>>> Read for Chunks<'a, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.fill_buf()?;
        let count = chunk.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use model::section::{Column, Names, Section, Values};

    use super::*;
    use crate::plaintext::encode;
    use crate::plaintext::tests::{groups, naming, servers};

    #[test]
    fn the_lines_of_a_batch_come_whole_by_the_piece_and_are_counted() {
        let mut names = Names::default();
        let rows = 5_000;
        (0..rows).for_each(|row| names.push(&format!("be{row}"), "s1"));
        let values = Values::Integers((0..rows).collect());
        let columns = vec![Column::full("stot", values.clone()), Column::full("econ", values)];
        let many = Section { names, columns, ..servers() };
        let empty = Section { names: Names::default(), columns: vec![], ..servers() };
        let batch =
            Batch { timestamp: "17".into(), sections: vec![empty.clone(), many, empty, servers()] };
        for double_writes in [false, true] {
            let paths = Paths::new(&naming(Some(groups(double_writes))), "h").unwrap();
            let mut whole = Vec::new();
            for section in &batch.sections {
                encode(section, &paths, "17", &mut whole);
            }
            let lines = BatchLines::new(&batch, &paths);
            let mut pieces = lines.open().unwrap();
            let (mut joined, mut count) = (Vec::new(), 0);
            while let piece = pieces.fill_buf().unwrap()
                && !piece.is_empty()
            {
                let taken = piece.len().min(100_000);
                joined.extend_from_slice(&piece[..taken]);
                pieces.consume(taken);
                count += 1;
            }
            assert!(joined == whole && count > 3);
            assert_eq!(lines.count(), whole.iter().filter(|byte| **byte == b'\n').count() as u64);
            let mut read = Vec::new();
            lines.open().unwrap().read_to_end(&mut read).unwrap();
            assert!(read == whole);
        }
    }
}
