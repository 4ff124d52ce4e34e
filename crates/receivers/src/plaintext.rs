//! A batch as lines `<path> <value> <timestamp>\n`, Graphite's plaintext protocol (carbon: "feeding in your data").
//!
//! Whole numbers have no point; others have the fewest digits that read back the same; none has an exponent. Where a row
//! belongs to a group, the group's path takes the place of the plain one, or comes beside it with double writes.

mod batch;
mod part;

use std::io::Write;

use model::groups::Groups;
use model::section::{Section, Subject, Values, clean, groups};

pub use batch::BatchLines;
pub use part::{PART_MAX_BYTES, shortened_names};

use part::shortened;

/// Where paths begin and groups stand in them.
#[derive(Debug)]
pub struct Paths {
    prefix: String,
    grouping: Option<Grouping>,
}

#[derive(Debug)]
struct Grouping {
    namespace: String,
    double_writes: bool,
    frontend: Groups,
    backend: Groups,
    server: Groups,
}

impl Paths {
    /// `host` is this machine's name as the system gives it.
    ///
    /// # Errors
    ///
    /// A group's pattern does not compile, which the configuration has refused before.
    pub fn new(naming: &config::Naming, host: &str) -> Result<Self, groups::Error> {
        let host = match naming.host {
            config::HostPart::None => None,
            config::HostPart::Short => host.split('.').next().map(clean::segment),
            config::HostPart::Full => Some(clean::segment(host)),
        };
        let host = host.map(|host| format!(".{host}")).unwrap_or_default();
        let compile = |rules: &[config::GroupRule]| {
            Groups::compile(rules.iter().map(|rule| (rule.name.as_str(), rule.pattern.as_str())))
        };
        let grouping = naming.groups.as_ref().map(|groups| {
            Ok(Grouping {
                namespace: groups.namespace.clone(),
                double_writes: groups.double_writes,
                frontend: compile(&groups.frontend)?,
                backend: compile(&groups.backend)?,
                server: compile(&groups.server)?,
            })
        });
        let prefix = format!("{}{host}.haproxy", naming.namespace);
        Ok(Self { prefix, grouping: grouping.transpose()? })
    }

    /// Appends the path of a row up to its metric: plain, or that of its group.
    fn push_row(
        &self,
        subject: Subject,
        (first, second): (&str, &str),
        group: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let (first, second) = (&*shortened(first), &*shortened(second));
        let mut push = |parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        push(&[&self.prefix, "."]);
        if let Some((grouping, group)) = self.grouping.as_ref().zip(group) {
            push(&[&grouping.namespace, ".", group, "."]);
        }
        match subject {
            Subject::Daemon => push(&["daemon."]),
            Subject::Process => push(&["daemon.process.", first, "."]),
            Subject::Frontend => push(&["frontend.", first, "."]),
            Subject::Backend => push(&["backend.", first, "."]),
            Subject::BackendServer => push(&["backend.", first, ".server.", second, "."]),
            Subject::Server => push(&["server.", first, "."]),
            Subject::Own => push(&["haproxystats."]),
        }
    }

    fn double_writes(&self) -> bool {
        self.grouping.as_ref().is_some_and(|grouping| grouping.double_writes)
    }

    fn groups_of(&self, subject: Subject) -> Option<&Groups> {
        let grouping = self.grouping.as_ref()?;
        match subject {
            Subject::Frontend => Some(&grouping.frontend),
            Subject::Backend | Subject::BackendServer => Some(&grouping.backend),
            Subject::Server => Some(&grouping.server),
            Subject::Daemon | Subject::Process | Subject::Own => None,
        }
    }
}

/// Appends the lines of a section.
pub fn encode(section: &Section, paths: &Paths, timestamp: &str, out: &mut Vec<u8>) {
    let mut lines = SectionLines::new(section, paths, timestamp);
    while lines.push_row(out) {}
}

/// The lines of a section, row by row.
struct SectionLines<'a> {
    section: &'a Section,
    paths: &'a Paths,
    groups: Option<&'a Groups>,
    row: usize,
    /// The servers of a backend follow each other, and their group is the backend's.
    last_group: Option<(&'a str, Option<&'a str>)>,
    names: Vec<Name>,
    /// What stands between the values of a row: the end of a line, then the path of the next.
    between: Vec<u8>,
    /// The length of a line's end.
    tail: usize,
}

impl<'a> SectionLines<'a> {
    fn new(section: &'a Section, paths: &'a Paths, timestamp: &str) -> Self {
        let between = format!(" {timestamp}\n").into_bytes();
        Self {
            section,
            paths,
            groups: paths.groups_of(section.subject),
            row: 0,
            last_group: None,
            names: section.columns.iter().map(|column| Name::new(&column.name)).collect(),
            tail: between.len(),
            between,
        }
    }

    /// Appends the lines of the next row; false if there is none.
    fn push_row(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(names) = self.section.names.get(self.row) else { return false };
        let group = self.group_of(names.0);
        if group.is_some() && self.paths.double_writes() {
            self.push_lines(names, None, out);
        }
        self.push_lines(names, group, out);
        self.row += 1;
        true
    }

    fn push_lines(&mut self, names: (&str, &str), group: Option<&str>, out: &mut Vec<u8>) {
        self.between.truncate(self.tail);
        self.paths.push_row(self.section.subject, names, group, &mut self.between);
        let (tail, mut before) = (&self.between[..self.tail], &self.between[self.tail..]);
        for (column, name) in self.section.columns.iter().zip(&self.names) {
            if !column.has(self.row) {
                continue;
            }
            out.extend_from_slice(before);
            name.push(out);
            push_value(&column.values, self.row, out);
            before = &self.between;
        }
        if before.len() == self.between.len() {
            out.extend_from_slice(tail);
        }
    }

    fn group_of(&mut self, name: &'a str) -> Option<&'a str> {
        let groups = self.groups?;
        let group = match self.last_group {
            Some((last, group)) if last == name => group,
            _ => groups.of(name),
        };
        self.last_group = Some((name, group));
        group
    }

    /// How many values have a group.
    fn count_grouped(mut self) -> u64 {
        let mut count = 0;
        for (row, (name, _)) in self.section.names.iter().enumerate() {
            if self.group_of(name).is_some() {
                let columns = self.section.columns.iter();
                count += columns.filter(|column| column.has(row)).count();
            }
        }
        count as u64
    }
}

/// A metric's name with the blank that follows it.
enum Name {
    /// One whose copy has a length that the compiler knows: no call, where there are only a few bytes to each.
    Short {
        padded: [u8; SHORT_BYTES],
        length: usize,
    },
    Long(Vec<u8>),
}

const SHORT_BYTES: usize = 32;

impl Name {
    fn new(name: &str) -> Self {
        let text = format!("{name} ").into_bytes();
        let length = text.len();
        let mut padded = [0; SHORT_BYTES];
        match padded.get_mut(..length) {
            Some(room) => {
                room.copy_from_slice(&text);
                Self::Short { padded, length }
            }
            None => Self::Long(text),
        }
    }

    #[inline]
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Short { padded, length } => {
                let end = out.len() + length;
                out.extend_from_slice(padded);
                out.truncate(end);
            }
            Self::Long(text) => out.extend_from_slice(text),
        }
    }
}

/// A column's value in a row that has one.
#[inline]
fn push_value(values: &Values, row: usize, out: &mut Vec<u8>) {
    match values {
        Values::Integers(values) => push_integer(values[row], out),
        Values::Wide(values) => push_integer(values[row], out),
        Values::Decimals(values) => push_decimal(values[row], out),
        Values::Milliseconds(values) => {
            let value = values[row];
            push_integer(value / 1000, out);
            let rest = value % 1000;
            out.extend(
                [b'.'].into_iter().chain([100, 10, 1].map(|by| b'0' + (rest / by % 10) as u8)),
            );
        }
    }
}

fn push_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Up to this magnitude every whole number is exact in both forms.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn push_decimal(value: f64, out: &mut Vec<u8>) {
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        return push_integer(value as i64, out);
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format(value);
    if shortest.contains(['e', 'E']) || shortest.ends_with(".0") {
        // The standard library never writes an exponent; it is slower, and such values are rare. Writing to memory cannot fail.
        let _ = write!(out, "{value}");
    } else {
        out.extend_from_slice(shortest.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use model::section::{Column, Names, Part};
    use proptest::prelude::{any, proptest};

    use super::*;

    pub(super) fn naming(groups: Option<config::Groups>) -> config::Naming {
        config::Naming { namespace: "lb".into(), host: config::HostPart::None, groups }
    }

    pub(super) fn groups(double_writes: bool) -> config::Groups {
        let rule = |name: &str, pattern: &str| config::GroupRule {
            name: name.into(),
            pattern: pattern.into(),
        };
        config::Groups {
            namespace: "flavor".into(),
            double_writes,
            frontend: vec![],
            backend: vec![rule("Even", "[02]$")],
            server: vec![],
        }
    }

    pub(super) fn servers() -> Section {
        let mut names = Names::default();
        names.push("be0", "s1");
        names.push("be1", "s1");
        Section {
            subject: Subject::BackendServer,
            part: Part::Server,
            names,
            columns: vec![
                Column::full("stot", Values::Integers(vec![3, -4])),
                Column::decimals("rtime", [Some(2.5), None]),
            ],
        }
    }

    fn lines(section: &Section, naming: &config::Naming, host: &str) -> String {
        let mut out = Vec::new();
        encode(section, &Paths::new(naming, host).unwrap(), "17", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_gives_a_line_for_each_value_that_is_there() {
        assert_eq!(
            lines(&servers(), &naming(None), "h"),
            "lb.haproxy.backend.be0.server.s1.stot 3 17\n\
             lb.haproxy.backend.be0.server.s1.rtime 2.5 17\n\
             lb.haproxy.backend.be1.server.s1.stot -4 17\n"
        );
    }

    #[test]
    fn a_server_in_its_backend_has_the_backends_group() {
        assert_eq!(
            lines(&servers(), &naming(Some(groups(false))), "h"),
            "lb.haproxy.flavor.even.backend.be0.server.s1.stot 3 17\n\
             lb.haproxy.flavor.even.backend.be0.server.s1.rtime 2.5 17\n\
             lb.haproxy.backend.be1.server.s1.stot -4 17\n"
        );
    }

    #[test]
    fn double_writes_send_a_grouped_line_on_its_plain_path_too() {
        assert_eq!(
            lines(&servers(), &naming(Some(groups(true))), "h"),
            "lb.haproxy.backend.be0.server.s1.stot 3 17\n\
             lb.haproxy.backend.be0.server.s1.rtime 2.5 17\n\
             lb.haproxy.flavor.even.backend.be0.server.s1.stot 3 17\n\
             lb.haproxy.flavor.even.backend.be0.server.s1.rtime 2.5 17\n\
             lb.haproxy.backend.be1.server.s1.stot -4 17\n"
        );
    }

    #[test]
    fn the_host_is_whole_or_cut_at_its_first_dot() {
        let own = Section::of_one(Subject::Own, Part::Own, vec![Column::integers("M", [Some(1)])]);
        let with = |host| config::Naming { host, ..naming(None) };
        assert_eq!(
            lines(&own, &with(config::HostPart::Full), "lb1.example.com"),
            "lb.lb1_example_com.haproxy.haproxystats.M 1 17\n"
        );
        assert_eq!(
            lines(&own, &with(config::HostPart::Short), "lb1.example.com"),
            "lb.lb1.haproxy.haproxystats.M 1 17\n"
        );
    }

    #[test]
    fn names_of_any_length_are_written_as_they_are() {
        for length in [0, 1, 30, 31, 32, 33, 100] {
            let name = "n".repeat(length);
            let mut out = b"before.".to_vec();
            Name::new(&name).push(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before.{name} "));
        }
    }

    fn written(value: Values) -> String {
        let mut out = Vec::new();
        push_value(&value, 0, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_have_no_exponent_and_no_needless_point() {
        let decimal = |value| written(Values::Decimals(vec![value]));
        assert_eq!([decimal(5.0), decimal(0.25), decimal(-0.0)], ["5", "0.25", "0"]);
        assert_eq!([decimal(1e21), decimal(1e-7)], ["1000000000000000000000", "0.0000001"]);
        assert_eq!(written(Values::Wide(vec![1 << 70])), "1180591620717411303424");
        assert_eq!(written(Values::Milliseconds(vec![12_034])), "12.034");
    }

    proptest! {
        /// Every finite number reads back as itself and is written with digits, a point and a sign alone.
        #[test]
        fn decimals_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = written(Values::Decimals(vec![value]));
                assert_eq!(text.parse::<f64>().unwrap(), value);
                assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-'), "{text}");
            }
        }
    }
}
