//! A batch as lines `<path> <value> <timestamp>\n`, Graphite's plaintext protocol (carbon: "feeding in your data").
//!
//! Whole numbers have no point; others have the fewest digits that read back the same; none has an exponent. Where a row
//! belongs to a group, the group's path takes the place of the plain one, or comes beside it with double writes.

use std::io::Write;

use metric::groups::Groups;
use metric::{Section, Subject, Value, clean, groups};

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

    /// The path of a row up to its metric, plain, and grouped where it has a group.
    fn of_row(&self, subject: Subject, (first, second): (&str, &str), group: Option<&str>) -> Row {
        let prefix = &self.prefix;
        let tail = match subject {
            Subject::Daemon => "daemon.".to_owned(),
            Subject::Process => format!("daemon.process.{first}."),
            Subject::Frontend => format!("frontend.{first}."),
            Subject::Backend => format!("backend.{first}."),
            Subject::BackendServer => format!("backend.{first}.server.{second}."),
            Subject::Server => format!("server.{first}."),
            Subject::Own => "haproxystats.".to_owned(),
        };
        let grouped = self.grouping.as_ref().zip(group).map(|(grouping, group)| {
            (format!("{prefix}.{}.{group}.{tail}", grouping.namespace), grouping.double_writes)
        });
        match grouped {
            Some((path, false)) => Row { path, second: None },
            Some((path, true)) => Row { path: format!("{prefix}.{tail}"), second: Some(path) },
            None => Row { path: format!("{prefix}.{tail}"), second: None },
        }
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

struct Row {
    path: String,
    second: Option<String>,
}

/// Appends the lines of a section.
pub fn encode(section: &Section, paths: &Paths, timestamp: &str, out: &mut Vec<u8>) {
    let groups = paths.groups_of(section.subject);
    // The servers of a backend follow each other, and their group is the backend's.
    let mut last: Option<(&str, Option<&str>)> = None;
    let tail = format!(" {timestamp}\n");
    let names: Vec<String> =
        section.columns.iter().map(|column| format!("{} ", column.name)).collect();
    for (row, row_names) in section.names.iter().enumerate() {
        let group = groups.and_then(|groups| match last {
            Some((name, group)) if name == row_names.0 => group,
            _ => groups.of(row_names.0),
        });
        last = Some((row_names.0, group));
        let row_path = paths.of_row(section.subject, row_names, group);
        for (column, name) in section.columns.iter().zip(&names) {
            let Some(value) = column.get(row) else { continue };
            for path in std::iter::once(&row_path.path).chain(&row_path.second) {
                out.extend_from_slice(path.as_bytes());
                out.extend_from_slice(name.as_bytes());
                push_value(value, out);
                out.extend_from_slice(tail.as_bytes());
            }
        }
    }
}

fn push_value(value: Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(value) => push_integer(value, out),
        Value::Wide(value) => push_integer(value, out),
        Value::Decimal(value) => push_decimal(value, out),
        Value::Milliseconds(value) => {
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
    use metric::{Column, Names, Part, Values};
    use proptest::prelude::{any, proptest};

    use super::*;

    fn naming(groups: Option<config::Groups>) -> config::Naming {
        config::Naming { namespace: "lb".into(), host: config::HostPart::None, groups }
    }

    fn groups(double_writes: bool) -> config::Groups {
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

    fn servers() -> Section {
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
            lines(&servers(), &naming(Some(groups(true))), "h").lines().take(2).collect::<Vec<_>>(),
            [
                "lb.haproxy.backend.be0.server.s1.stot 3 17",
                "lb.haproxy.flavor.even.backend.be0.server.s1.stot 3 17"
            ]
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

    fn written(value: Value) -> String {
        let mut out = Vec::new();
        push_value(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_have_no_exponent_and_no_needless_point() {
        let decimal = |value| written(Value::Decimal(value));
        assert_eq!([decimal(5.0), decimal(0.25), decimal(-0.0)], ["5", "0.25", "0"]);
        assert_eq!([decimal(1e21), decimal(1e-7)], ["1000000000000000000000", "0.0000001"]);
        assert_eq!(written(Value::Wide(1 << 70)), "1180591620717411303424");
        assert_eq!(written(Value::Milliseconds(12_034)), "12.034");
    }

    proptest! {
        /// Every finite number reads back as itself and is written with digits, a point and a sign alone.
        #[test]
        fn decimals_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = written(Value::Decimal(value));
                assert_eq!(text.parse::<f64>().unwrap(), value);
                assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-'), "{text}");
            }
        }
    }
}
