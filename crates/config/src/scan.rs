//! Splits a file into sections and options as Python's ConfigParser does: each line opens a
//! section, opens an option, or continues a value.
//!
//! The scan refuses the lines that ConfigParser refuses. It passes all other lines on in a plain
//! form that rust-ini cannot read differently: without comments, indented options and redundant
//! blanks.

use std::collections::HashMap;

use crate::fault::{Problem, clip};

/// A section of one file.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) options: Vec<ScannedOption>,
}

impl Block {
    /// The options for rust-ini, without the header, which a single section does not need.
    pub(crate) fn plain_text(&self) -> String {
        self.options.iter().map(|option| option.plain_text.as_str()).collect()
    }
}

/// An option with the plain text of its value.
#[derive(Debug)]
pub(crate) struct ScannedOption {
    /// As it is written.
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Line breaks before the first text of the value. rust-ini drops them, but they separate the
    /// value from other text where a reference joins the two.
    pub(crate) leading_breaks: usize,
    has_text: bool,
    plain_text: String,
}

/// A fault of a line.
#[derive(Debug)]
pub(crate) struct LineFault {
    pub(crate) line: usize,
    pub(crate) section: Option<String>,
    pub(crate) option: Option<String>,
    pub(crate) problem: Problem,
}

/// The sections of a file, and the faults of its lines.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) blocks: Vec<Block>,
    pub(crate) faults: Vec<LineFault>,
}

/// Finds the logical lines of a file.
pub(crate) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner::default();
    for (index, line) in lines(text).enumerate() {
        scanner.read_line(index + 1, line);
    }
    scanner.scan
}

/// Lines end as with Python's universal newlines: with `\n`, `\r\n` or a lone `\r`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// The line that a deeper indented line continues.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Predecessor {
    /// A header, or the beginning of the file, which cannot be continued.
    #[default]
    Header,
    /// The last option of the last block.
    Option,
    /// A faulty line, whose continuation is no second fault.
    Faulty,
}

#[derive(Default)]
struct Scanner {
    scan: Scan,
    predecessor: Predecessor,
    indent: usize,
    sections: HashMap<String, usize>,
    options: HashMap<(String, String), usize>,
}

impl Scanner {
    fn read_line(&mut self, number: usize, line: &str) {
        let text = line.trim();
        if text.starts_with(['#', ';']) {
            return;
        }
        if text.is_empty() {
            self.continue_value("");
            return;
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if self.predecessor != Predecessor::Header && indent > self.indent {
            self.continue_value(text);
            return;
        }
        self.indent = indent;
        if text.starts_with('[') {
            self.header(number, text);
        } else {
            self.option(number, text);
        }
    }

    /// Appends a line to the value of the last option.
    fn continue_value(&mut self, text: &str) {
        if self.predecessor != Predecessor::Option {
            return;
        }
        let block = self.scan.blocks.last_mut();
        if let Some(option) = block.and_then(|block| block.options.last_mut()) {
            option.leading_breaks += usize::from(!option.has_text);
            if !text.is_empty() {
                option.has_text = true;
                option.plain_text.push(' ');
            }
            push_line(&mut option.plain_text, text);
        }
    }

    fn header(&mut self, number: usize, text: &str) {
        let name = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .filter(|name| !name.is_empty() && !name.contains(']'));
        let Some(name) = name else {
            self.refuse(number, None, Problem::Header { text: clip(text) });
            return;
        };
        // ConfigParser accepts a second [DEFAULT], but no option twice.
        let first = match self.sections.get(name) {
            Some(first) if name != "DEFAULT" => Some(*first),
            _ => None,
        };
        self.sections.entry(name.to_owned()).or_insert(number);
        self.scan.blocks.push(Block { name: name.to_owned(), line: number, options: Vec::new() });
        if let Some(first) = first {
            self.refuse(number, None, Problem::SectionTwice { first });
        }
        self.predecessor = Predecessor::Header;
    }

    fn option(&mut self, number: usize, text: &str) {
        let Some(section) = self.scan.blocks.last().map(|block| block.name.clone()) else {
            self.refuse(number, None, Problem::BeforeSection { text: clip(text) });
            return;
        };
        let Some((name, value)) = text.split_once(['=', ':']) else {
            self.refuse(number, None, Problem::NoDelimiter { text: clip(text) });
            return;
        };
        let name = name.trim_end();
        if name.is_empty() {
            self.refuse(number, None, Problem::NoName { text: clip(text) });
            return;
        }
        let key = (section, name.to_lowercase());
        if let Some(first) = self.options.get(&key).copied() {
            self.refuse(number, Some(key.1), Problem::OptionTwice { first });
            return;
        }
        self.options.insert(key, number);
        let value = value.trim();
        let mut plain_text = format!("{name} = ");
        push_line(&mut plain_text, value);
        let option = ScannedOption {
            name: name.to_owned(),
            line: number,
            leading_breaks: 0,
            has_text: !value.is_empty(),
            plain_text,
        };
        if let Some(block) = self.scan.blocks.last_mut() {
            block.options.push(option);
            self.predecessor = Predecessor::Option;
        }
    }

    fn refuse(&mut self, line: usize, option: Option<String>, problem: Problem) {
        let section = self.scan.blocks.last().map(|block| block.name.clone());
        self.scan.faults.push(LineFault { line, section, option, problem });
        self.predecessor = Predecessor::Faulty;
    }
}

/// Appends a line. rust-ini joins a line that ends in a backslash with the next one, even with
/// escapes off; a blank before the line break, which it trims later, prevents that.
fn push_line(plain_text: &mut String, text: &str) {
    plain_text.push_str(text);
    plain_text.push_str(if text.ends_with('\\') { " \n" } else { "\n" });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(usize, String)> {
        scan(text).faults.iter().map(|r| (r.line, r.problem.to_string())).collect()
    }

    fn plain(text: &str) -> String {
        let scan = scan(text);
        assert!(scan.faults.is_empty(), "{:?}", scan.faults);
        scan.blocks.iter().map(|b| format!("[{}]\n{}", b.name, b.plain_text())).collect()
    }

    #[test]
    fn deeper_lines_go_on_and_comments_inside_a_value_vanish() {
        let text = "[a]\nk =\n  x\n  # no\n\n  y\n# no\n  z\nl : m\n";
        assert_eq!(plain(text), "[a]\nk = \n x\n\n y\n z\nl = m\n\n");
    }

    #[test]
    fn a_line_as_deep_as_its_option_is_the_next_option() {
        assert_eq!(plain("  [a]\n  k = 1\n  l = 2\n   m = 3"), "[a]\nk = 1\nl = 2\n m = 3\n");
    }

    #[test]
    fn a_deeper_header_is_part_of_the_value_but_not_right_after_a_header() {
        assert_eq!(plain("[a]\nk = 1\n [b]"), "[a]\nk = 1\n [b]\n");
        assert_eq!(plain("[a]\n [b]\nk=1"), "[a]\n[b]\nk = 1\n");
    }

    #[test]
    fn every_newline_of_python_counts() {
        let scan = scan("[a]\r\nk=1\rl=2\n\r\nm=3");
        let lines: Vec<_> =
            scan.blocks[0].options.iter().map(|o| (o.name.as_str(), o.line)).collect();
        assert_eq!(lines, [("k", 2), ("l", 3), ("m", 5)]);
    }

    #[test]
    fn a_refused_line_and_its_continuation_are_one_fault() {
        let text = "k = 1\n  m\n[a] x\n[]\n[b\n[a]\nno\n  more\n= v\nk = 1\nK : 2\n  \
        3\n[a]\nk=3\nl=4\n[b]c]";
        assert_eq!(
            faults(text),
            [
                (
                    1,
                    "\"k = 1\" stands before any section; write a header such as [DEFAULT] above \
                it"
                    .into()
                ),
                (3, header("[a] x")),
                (4, header("[]")),
                (5, header("[b")),
                (
                    7,
                    "\"no\" has neither = nor :; write \"name = value\", or indent it if it \
                continues a value"
                        .into()
                ),
                (9, "\"= v\" has no name before its delimiter; write \"name = value\"".into()),
                (11, "given in line 10 already; keep one of the two".into()),
                (13, "this section begins in line 6 already; put its options there".into()),
                (14, "given in line 10 already; keep one of the two".into()),
                (16, header("[b]c]")),
            ]
        );
    }

    #[test]
    fn default_may_come_twice_but_its_options_may_not() {
        assert_eq!(faults("[DEFAULT]\na=1\n[DEFAULT]\nb=1\n"), []);
        assert_eq!(faults("[DEFAULT]\na=1\n[DEFAULT]\nA=1\n").len(), 1);
    }

    fn header(text: &str) -> String {
        format!("{text:?} is no section header; write the name in brackets and nothing after them")
    }
}
