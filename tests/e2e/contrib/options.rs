//! A value other than the default for every option, and the values that the programs print: a tool
//! that writes configurations must pass each value unchanged.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Kind, KnownOption};

use crate::support::{PROCESS, PULL, run};

/// A value before it is written down.
#[derive(Clone)]
pub(crate) enum Value {
    Flag(bool),
    Number(String),
    Text(String),
    List(Vec<&'static str>),
}

/// The value of each section and option as the programs print it, with single blanks.
pub(crate) type Values = BTreeMap<(String, String), String>;

/// Groups that are not in the order of the alphabet, with characters that an INI file, a template
/// or a shell might interpret. A dollar is written once, as in the expression.
pub(crate) const GROUPS: [(&str, &str); 2] = [("web", "^(www|shop)$"), ("api", r"a#b; \d{2}='x'$")];

/// The options of `[influxdb]` that are for its API v2, and are faults beside those for v1.
const V2: [&str; 3] = ["org", "bucket", "token-file"];

/// Options of a Graphite that do not go with `group-namespace`, with every `confirm`, or without
/// another of them.
const GRAPHITE_ALONE: [&str; 6] = ["tags", "tls", "ca-file", "certificate", "key", "server-name"];

/// Whether an option can stand in one file with all others for which this is true.
pub(crate) fn goes_with_all(option: &KnownOption) -> bool {
    match option.section {
        "influxdb" => !V2.contains(&option.name),
        "graphite" => !GRAPHITE_ALONE.contains(&option.name),
        _ => true,
    }
}

/// Every option that goes with all others, with a value that is not its default; paths are in
/// `folder`.
pub(crate) fn other_values(folder: &Path) -> Vec<(&'static KnownOption, Value)> {
    let options = config::known_options().iter().filter(|option| goes_with_all(option));
    options.map(|option| (option, other_value(option, folder))).collect()
}

fn other_value(option: &KnownOption, folder: &Path) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    match option.kind {
        // The options of a login and of TLS ask for this one.
        Kind::Word(_) if option.name == "security-protocol" => text("sasl_ssl"),
        Kind::Word(words) => {
            text(words.iter().find(|&&word| Some(word) != option.default).unwrap())
        }
        // One receiver must be on.
        Kind::Boolean if (option.section, option.name) == ("local-store", "enabled") => {
            Value::Flag(true)
        }
        Kind::Boolean => Value::Flag(option.default != Some("true")),
        Kind::Whole(_) => {
            let default = option.default.map_or(6, |default| default.parse::<u64>().unwrap());
            Value::Number((default + 1).to_string())
        }
        Kind::Retries => Value::Number("-1".to_owned()),
        Kind::Pause => Value::Number("0.25".to_owned()),
        Kind::Limit => Value::Number("40.5".to_owned()),
        Kind::Factor => Value::Number("1.25".to_owned()),
        // A tool may make this folder; no tool touches the others.
        Kind::Path if option.name == "base-dir" => text(folder.join("base").to_str().unwrap()),
        Kind::Path => text(&format!("/srv/{}/{}", option.section, option.name)),
        Kind::Servers => Value::List(vec!["tcp://[::1]:5555", "unix:///run/a b/admin.sock"]),
        Kind::Listen => {
            text(if option.section == "pull" { "[::1]:8161" } else { "unix:///run/m.sock" })
        }
        Kind::Applications => text("shop=http://[::1]:9191, /run/uwsgi/*.stats"),
        Kind::Instances => text("shop/instance1=tcp://[::1]:10381, a.b/i=unix:///run/i.sock"),
        Kind::Folders => text("/home/zope/*, /srv/shop"),
        Kind::Name => text("catalog"),
        Kind::ServerList => Value::List(vec!["graphite.example.com", "[::1]:2003"]),
        Kind::Metrics if option.name == "daemon-metrics" => Value::List(vec!["CumReq", "Tasks"]),
        Kind::Metrics => Value::List(vec!["stot", "scur"]),
        Kind::Host | Kind::HostName => text("graphite.example.com"),
        Kind::Prefix => text("other.place"),
        Kind::Brokers => text("kafka1:9092, [::1]:19092"),
        Kind::Topic => text("a.topic"),
        Kind::Url => text("https://[::1]:8086/influx"),
        Kind::Text => text("a name"),
        Kind::Tags => text("dc=ams 1, env=prod"),
    }
}

/// The output that the programs must print for these values, including groups.
pub(crate) fn expected(values: &[(&KnownOption, Value)]) -> Values {
    let mut loaded: Values = values
        .iter()
        .map(|(option, value)| {
            let is_comma_list = matches!(option.kind, Kind::Servers | Kind::ServerList);
            let separator = if is_comma_list { ", " } else { " " };
            let text = match value {
                Value::Flag(flag) => flag.to_string(),
                Value::Number(text) | Value::Text(text) => text.clone(),
                Value::List(items) => items.join(separator),
            };
            ((option.section.to_owned(), option.name.to_owned()), text)
        })
        .collect();
    for option in config::known_options().iter().filter(|option| !goes_with_all(option)) {
        if let Some(default) = option.default {
            loaded.insert((option.section.to_owned(), option.name.to_owned()), default.to_owned());
        }
    }
    for section in config::GROUP_SECTIONS {
        for (name, pattern) in GROUPS {
            let key = (section.to_owned(), name.to_owned());
            loaded.insert(key, pattern.replace('$', "$$"));
        }
    }
    loaded
}

/// The values that both programs read from a file. They may warn only of options without effect.
pub(crate) fn loaded(file: &Path) -> Values {
    let mut loaded = Values::new();
    for program in [PULL, PROCESS] {
        let outcome = run(program, &["-P", "-f", file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{program}: {}", outcome.stderr);
        let mut warnings = outcome.stderr.lines();
        assert!(warnings.all(|line| line.contains(": no effect: ")), "{}", outcome.stderr);
        loaded.extend(parse(&outcome.stdout));
    }
    loaded
}

/// The names in a section, in the order of the text.
pub(crate) fn names_in(text: &str, section: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| *line != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .collect()
}

fn parse(text: &str) -> Values {
    let mut section = String::new();
    let mut last = None;
    let mut loaded = Values::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if line.starts_with(char::is_whitespace) {
            let value: &mut String = loaded.get_mut(last.as_ref().unwrap()).unwrap();
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(" = ") {
            let key = (section.clone(), name.to_owned());
            last = Some(key.clone());
            loaded.insert(key, value.trim_end().to_owned());
        }
    }
    loaded
}
