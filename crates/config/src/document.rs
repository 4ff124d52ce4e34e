//! The sections and options of all files, each with its file and line.
//!
//! A later file overrides option by option and never removes one; an option keeps the rank of its
//! first appearance, because the order of groups decides. [`crate::scan`] finds the options,
//! rust-ini reads them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ini::{Ini, ParseOption};

use crate::fault::{Fault, Place, Problem};
use crate::scan::{Block, scan};

/// The section that all others inherit from.
pub(crate) const DEFAULT: &str = "DEFAULT";

/// The text of the files by section and option, before references are replaced.
#[derive(Debug, Default)]
pub struct Document {
    sections: Vec<Section>,
    ranks: HashMap<String, usize>,
}

/// A section of one or more files.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    /// The header in the first file that has one.
    pub(crate) place: Place,
    entries: Vec<Entry>,
    ranks: HashMap<String, usize>,
}

/// An option with the value of the last file that sets it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// In lower case.
    pub(crate) option: String,
    /// Before interpolation.
    pub(crate) value: String,
    pub(crate) place: Place,
}

impl Document {
    /// The sections, `[DEFAULT]` too, in the order of their first headers.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.ranks.get(name).and_then(|rank| self.sections.get(*rank))
    }

    pub(crate) fn entry(&self, section: &str, option: &str) -> Option<&Entry> {
        self.section(section).and_then(|section| section.entry(option))
    }

    /// Adds a file, whose options override those of earlier files, and returns its faults.
    pub(crate) fn overlay(&mut self, file: &Arc<Path>, bytes: &[u8]) -> Vec<Fault> {
        let place = |line| Place { file: Arc::clone(file), line: Some(line) };
        let mut faults: Vec<Fault> = lines_not_utf8(bytes)
            .map(|line| Fault {
                place: place(line),
                section: None,
                option: None,
                problem: Problem::NotUtf8,
            })
            .collect();
        let unmarked = bytes.strip_prefix(BYTE_ORDER_MARK);
        faults.extend(unmarked.map(|_| Fault {
            place: place(1),
            section: None,
            option: None,
            problem: Problem::ByteOrderMark,
        }));
        // The lines that are not UTF-8 have their faults; the scan finds the faults of all others.
        let scan = scan(&String::from_utf8_lossy(unmarked.unwrap_or(bytes)));
        faults.extend(scan.faults.into_iter().map(|fault| Fault {
            place: place(fault.line),
            section: fault.section,
            option: fault.option,
            problem: fault.problem,
        }));
        for block in &scan.blocks {
            self.overlay_block(block, &place, &mut faults);
        }
        faults
    }

    fn overlay_block(
        &mut self,
        block: &Block,
        place: &impl Fn(usize) -> Place,
        faults: &mut Vec<Fault>,
    ) {
        let rank = *self.ranks.entry(block.name.clone()).or_insert_with(|| {
            self.sections.push(Section::new(block.name.clone(), place(block.line)));
            self.sections.len() - 1
        });
        let fault = |line, option, problem| Fault {
            place: place(line),
            section: Some(block.name.clone()),
            option,
            problem,
        };
        let entries = match read_entries(&block.plain_text()) {
            Ok(entries) => entries,
            Err(error) => {
                faults.push(fault(block.line, None, Problem::Ini(error)));
                return;
            }
        };
        for option in &block.options {
            let name = option.name.to_lowercase();
            match entries.general_section().get(&option.name) {
                Some("") => self.sections[rank].set(name, String::new(), place(option.line)),
                Some(value) => {
                    let value = "\n".repeat(option.leading_breaks) + value;
                    self.sections[rank].set(name, value, place(option.line));
                }
                None => faults.push(fault(option.line, Some(name), Problem::Misread)),
            }
        }
    }
}

impl Section {
    fn new(name: String, place: Place) -> Self {
        Self { name, place, entries: Vec::new(), ranks: HashMap::new() }
    }

    /// The options of the section itself, without inherited ones.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn entry(&self, option: &str) -> Option<&Entry> {
        self.ranks.get(option).and_then(|rank| self.entries.get(*rank))
    }

    fn set(&mut self, option: String, value: String, place: Place) {
        let rank = *self.ranks.entry(option.clone()).or_insert(self.entries.len());
        let entry = Entry { option, value, place };
        if rank == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[rank] = entry;
        }
    }
}

/// Some editors write this mark at the start of a file; ConfigParser would read it as text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The numbers of the lines that are not UTF-8.
fn lines_not_utf8(bytes: &[u8]) -> impl Iterator<Item = usize> {
    // Lines end as in `scan`, so that the line numbers agree.
    let mut number = 1;
    let mut after_return = false;
    bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')).filter_map(move |line| {
        let rest_of_newline = after_return && line == b"\n";
        after_return = line.ends_with(b"\r");
        let this = number;
        number += usize::from(!rest_of_newline);
        std::str::from_utf8(line).is_err().then_some(this)
    })
}

fn read_entries(plain_text: &str) -> Result<Ini, ini::ParseError> {
    let option = ParseOption {
        enabled_quote: false,
        // With escapes on, the \d of a pattern loses its backslash.
        enabled_escape: false,
        enabled_indented_mutiline_value: true,
        enabled_preserve_key_leading_whitespace: false,
    };
    Ini::load_from_str_opt(plain_text, option)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

    use super::*;

    fn document(text: &str) -> Document {
        let mut document = Document::default();
        let faults = document.overlay(&Arc::from(Path::new("x.conf")), text.as_bytes());
        assert!(faults.is_empty(), "{faults:?} in {text:?}");
        document
    }

    fn entries(document: &Document) -> Vec<(String, Vec<(String, String)>)> {
        document
            .sections()
            .map(|section| {
                let entries =
                    section.entries().map(|entry| (entry.option.clone(), entry.value.clone()));
                (section.name.clone(), entries.collect())
            })
            .collect()
    }

    #[test]
    fn values_are_read_as_configparser_reads_them() {
        let text = "[a]\nUpper Case: x = y ; z\nempty =\nlist =\n  a,\n\n  # not this\n  b\n\n\
                    regex = ^\\d+\"x'\\\nnext = \\\\\n[b]\nq = # kept\n  = k\n  [c]\nbs\\=1\n";
        let a = [
            ("upper case", "x = y ; z"),
            ("empty", ""),
            ("list", "\na,\n\nb"),
            ("regex", "^\\d+\"x'\\"),
            ("next", "\\\\"),
        ];
        let b = [("q", "# kept\n= k\n[c]"), ("bs\\", "1")];
        let owned = |entries: &[(&str, &str)]| {
            entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(
            entries(&document(text)),
            [("a".to_owned(), owned(&a)), ("b".to_owned(), owned(&b))]
        );
    }

    #[test]
    fn a_later_file_overrides_option_by_option_and_ranks_stay() {
        let mut document = document("[g]\na=1\nb=2\n[h]\nx=1\n");
        let second: Arc<Path> = Arc::from(Path::new("y.conf"));
        assert!(document.overlay(&second, b"[g]\nc=5\nA=4\n").is_empty());
        let expected = [("a", "4"), ("b", "2"), ("c", "5")];
        assert_eq!(
            entries(&document)[0].1,
            expected.map(|(option, value)| (option.to_owned(), value.to_owned()))
        );
        let entry = document.entry("g", "a").unwrap();
        assert_eq!(entry.place, Place { file: second, line: Some(3) });
    }

    #[test]
    fn lines_that_are_not_utf8_have_their_numbers() {
        let bytes = b"[a]\r\nk=\xff\rl=\xe9\n\nm=1\n\xfe";
        assert_eq!(lines_not_utf8(bytes).collect::<Vec<_>>(), [2, 3, 6]);
    }

    fn word() -> impl Strategy<Value = String> {
        "[A-Za-z0-9_.$\\\\{}'\"/-]([A-Za-z0-9_.$\\\\{}'\"/# ;-]{0,6}[A-Za-z0-9_.$\\\\{}'\"/-])?"
    }

    /// Sections of options of lines.
    type Written = Vec<(String, Vec<(String, Vec<String>)>)>;

    /// Names are made unique by their rank.
    fn written() -> impl Strategy<Value = Written> {
        let value = proptest::collection::vec(
            prop_oneof![word(), word().prop_map(|w| format!("={w}"))],
            0..4,
        );
        let value = (any::<bool>(), value).prop_map(|(begins_below, mut lines)| {
            if begins_below {
                lines.insert(0, String::new());
            }
            lines
        });
        let options = proptest::collection::vec((word(), value), 0..4);
        proptest::collection::vec((word(), options), 0..4).prop_map(|sections| {
            let unique = |name: String, rank: usize| format!("{name}{rank}");
            sections
                .into_iter()
                .enumerate()
                .map(|(rank, (name, options))| {
                    let options = options.into_iter().enumerate();
                    let options = options.map(|(rank, (name, value))| (unique(name, rank), value));
                    (unique(name, rank), options.collect())
                })
                .collect()
        })
    }

    fn expected(written: &Written) -> Vec<(String, Vec<(String, String)>)> {
        let section = |(name, options): &(String, Vec<(String, Vec<String>)>)| {
            let options =
                options.iter().map(|(name, lines)| (name.to_lowercase(), lines.join("\n")));
            (name.clone(), options.collect())
        };
        written.iter().map(section).collect()
    }

    proptest! {
        /// For a file without the parts that they read differently, the scanner with rust-ini reads
        /// the same as rust-ini alone.
        #[test]
        fn a_plain_file_is_read_as_rust_ini_reads_it(written in written()) {
            let mut text = String::new();
            for (name, options) in &written {
                text.push_str(&format!("[{name}]\n"));
                for (name, lines) in options {
                    // rust-ini reads a backslash before a delimiter or at a line's end
                    // differently.
                    let lines: Vec<_> = lines.iter().map(|line| line.replace('\\', "/")).collect();
                    let (name, value) = (name.replace('\\', "/"), lines.join("\n  "));
                    text.push_str(&format!("{name} = {value}\n"));
                }
            }
            let document = document(&text);
            let ini = read_entries(&text).unwrap();
            let theirs: Vec<(String, Vec<(String, String)>)> = ini
                .iter()
                .filter_map(|(name, properties)| {
                    let entries = properties.iter().map(|(k, v)| (k.to_lowercase(), v.to_owned()));
                    name.map(|name| (name.to_owned(), entries.collect()))
                })
                .collect();
            let mut ours = entries(&document);
            for (_, value) in ours.iter_mut().flat_map(|(_, entries)| entries) {
                // The one difference: rust-ini drops the line breaks before a value.
                *value = value.trim_start_matches('\n').to_owned();
            }
            assert_eq!(ours, theirs, "{text:?}");
        }

        /// The same entries are read in any layout: comments, empty lines, indentation, delimiter
        /// and newline.
        #[test]
        fn layout_means_nothing(
            written in written(),
            newline in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
            delimiter in prop_oneof![Just("="), Just(" : "), Just(" =\t")],
            indent in "[ \t]{0,3}",
            noise in any::<bool>(),
        ) {
            let comment = match noise {
                true => format!("{indent}  # c = d{newline}; [e]{newline}"),
                false => String::new(),
            };
            let mut text = comment.clone();
            for (name, options) in &written {
                text.push_str(&format!("{indent}[{name}]{newline}{comment}"));
                for (name, lines) in options {
                    let lines = lines.join(&format!("{newline}{comment}{indent}\t"));
                    text.push_str(&format!("{indent}{name}{delimiter}{lines}{newline}"));
                    text.push_str(&format!("{comment}{newline}"));
                }
            }
            assert_eq!(entries(&document(&text)), expected(&written), "{text:?}");
        }

        /// No bytes cause a panic.
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut document = Document::default();
            document.overlay(&Arc::from(Path::new("x.conf")), &bytes);
        }

        /// As above, with the characters that have a meaning in INI.
        #[test]
        fn any_text_is_read_without_disagreement(text in "[\\[\\]=:#; \t\r\n\\\\a$\"']{0,40}") {
            let mut document = Document::default();
            let faults = document.overlay(&Arc::from(Path::new("x.conf")), text.as_bytes());
            assert!(
                !faults.iter().any(|f| matches!(f.problem, Problem::Misread | Problem::Ini(_))),
                "{faults:?} in {text:?}"
            );
        }
    }
}
