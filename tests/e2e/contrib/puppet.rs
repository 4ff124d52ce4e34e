//! The module of `contrib/puppet`, tried with the real tools: puppet itself applies it to a folder
//! of the test, with commands in place of a service manager.
//!
//! Our own programs read the files that it writes. The class is compared with the programs' own
//! table, which shows missing parameters, superfluous parameters and wrong ranges.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use config::{Bounds, Kind, KnownOption};
use tempfile::TempDir;

use super::options::{GROUPS, Value, expected, loaded, names_in, other_values};
use crate::support::{Outcome, PROCESS, PULL, Program, installed, run};

/// Parameters that are not options of the configuration file.
const OWN: [&str; 26] = [
    "programs",
    "install",
    "package_name",
    "package_ensure",
    "package_source",
    "files_source",
    "bin_directory",
    "unit_directory",
    "manage_user",
    "user",
    "group",
    "socket_group",
    "config_file",
    "config_directory",
    "config_owner",
    "config_group",
    "state_directories",
    "cpus_pull",
    "cpus_process",
    "manage_services",
    "service_ensure",
    "service_enable",
    "frontend_groups",
    "backend_groups",
    "server_groups",
    "local_store",
];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn module() -> PathBuf {
    project("contrib/puppet/haproxystats")
}

/// The parameter of an option.
fn parameter(option: &KnownOption) -> String {
    format!("{}_{}", option.section.to_lowercase(), option.name).replace('-', "_")
}

/// The Puppet type of a kind in our own table.
fn type_of(kind: Kind) -> String {
    match kind {
        Kind::Word(words) if words.contains(&"debug") => "Haproxystats::Loglevel".to_owned(),
        Kind::Word(words) => format!("Enum['{}']", words.join("', '")),
        Kind::Boolean => "Boolean".to_owned(),
        Kind::Whole(Bounds { least, most: u64::MAX, .. }) => format!("Integer[{least}]"),
        Kind::Whole(Bounds { least, most, .. }) => format!("Integer[{least}, {most}]"),
        Kind::Retries => "Integer[-1]".to_owned(),
        kind => format!("Haproxystats::{kind:?}"),
    }
}

/// Name, type and default of each parameter of the class.
fn parameters() -> BTreeMap<String, (String, String)> {
    let text = fs::read_to_string(module().join("manifests/init.pp")).unwrap();
    let (_, rest) = text.split_once("\nclass haproxystats (\n").unwrap();
    let (list, _) = rest.split_once("\n) {\n").unwrap();
    list.lines()
        .map(|line| {
            let (kind, rest) = line.split_once(" $").unwrap();
            let (name, default) = rest.trim_end_matches(',').split_once(" = ").unwrap();
            assert!(text.contains(&format!("\n# @param {name}\n")), "{name} is not explained");
            (name.to_owned(), (kind.trim().to_owned(), default.to_owned()))
        })
        .collect()
}

#[test]
fn every_option_is_a_parameter_and_every_other_is_known() {
    let mut parameters = parameters();
    for option in config::known_options() {
        let name = parameter(option);
        let wanted = (format!("Optional[{}]", type_of(option.kind)), "undef".to_owned());
        assert_eq!(parameters.remove(&name), Some(wanted), "{name}");
    }
    let mut own = OWN.to_vec();
    own.sort_unstable();
    assert_eq!(parameters.keys().collect::<Vec<_>>(), own);
}

#[test]
fn the_module_has_the_version_of_the_programs() {
    let text = fs::read_to_string(module().join("metadata.json")).unwrap();
    let version = format!("\n  \"version\": \"{}\",\n", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "{text}");
}

/// The files of the module with this ending.
fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["manifests", "types", "functions", "templates"] {
        for entry in fs::read_dir(module().join(folder)).unwrap() {
            let path = entry.unwrap().path().to_str().unwrap().to_owned();
            if path.ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no {ending}");
    found
}

/// Puppet with its own folders, and the module in the folder of modules.
struct Puppet {
    folder: TempDir,
    program: String,
}

impl Puppet {
    fn new(program: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let puppet = Self { folder, program };
        for name in ["modules", "bin", "units"] {
            fs::create_dir(puppet.path(name)).unwrap();
        }
        let copy = puppet.path("modules").join("haproxystats");
        let outcome = run("cp", &["-r", module().to_str().unwrap(), copy.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        // As README says, with a script in place of each program, because a debug build is large.
        let given = copy.join("files");
        fs::create_dir(&given).unwrap();
        for (name, program) in [("haproxystats-pull", PULL), ("haproxystats-process", PROCESS)] {
            fs::write(given.join(name), format!("#!/bin/sh\nexec '{program}' \"$@\"\n")).unwrap();
            let unit = format!("{name}.service");
            fs::copy(project("contrib/systemd").join(&unit), given.join(&unit)).unwrap();
        }
        puppet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `puppet` with the arguments, away from the machine's own folders.
    fn run(&self, arguments: &[&str]) -> Outcome {
        let folder = self.path("puppet");
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        for name in ["confdir", "vardir", "logdir", "rundir", "publicdir", "codedir"] {
            all.extend([format!("--{name}"), folder.join(name).to_str().unwrap().to_owned()]);
        }
        let all: Vec<&OsStr> = all.iter().map(AsRef::as_ref).collect();
        let environment =
            [("HOME", self.folder.path().as_os_str()), ("LC_ALL", "C.UTF-8".as_ref())];
        let run = tempfile::tempdir().unwrap();
        let mut program = Program::start(&self.program, &all, &environment, run.path(), "puppet");
        let code = program.wait().code();
        Outcome { code, stdout: program.output(), stderr: program.log() }
    }

    /// Applies a manifest; status 0 means that nothing had to change, 2 that something was changed.
    fn apply(&self, manifest: &str, more: &[&str]) -> Outcome {
        let file = self.path("site.pp");
        fs::write(&file, manifest).unwrap();
        let modules = self.path("modules");
        let usual = ["apply", "--detailed-exitcodes", "--color", "false", "--modulepath"];
        let files = [modules.to_str().unwrap(), file.to_str().unwrap()];
        self.run(&[&usual[..], &files[..], more].concat())
    }

    /// The class for the test's folder, owned by the user of the test.
    fn manifest(&self, parameters: &str) -> String {
        let [user, group] = ["-un", "-gn"].map(|flag| run("id", &[flag]).stdout.trim().to_owned());
        let folder = self.folder.path().display();
        format!(
            "Service {{
                provider => base,
                start    => 'echo start >> {folder}/services; touch {folder}/up',
                status   => 'test -e {folder}/up',
                restart  => 'echo restart >> {folder}/services',
            }}
            class {{ 'haproxystats':
                install          => 'files',
                manage_user      => false,
                bin_directory    => '{folder}/bin',
                unit_directory   => '{folder}/units',
                user             => '{user}',
                group            => '{group}',
                config_file      => '{folder}/haproxystats.conf',
                config_directory => '{folder}/haproxystats.d',
                config_owner     => '{user}',
                config_group     => '{group}',
                {parameters}
            }}\n"
        )
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// A value in Puppet's own language.
fn literal(value: &Value) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Number(text) => text.clone(),
        Value::Text(text) => quoted(text),
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Every option and every kind of group.
fn every_parameter(values: &[(&KnownOption, Value)]) -> String {
    let mut text = "local_store => true,\n".to_owned();
    for (option, value) in values {
        writeln!(text, "{} => {},", parameter(option), literal(value)).unwrap();
    }
    let groups: String =
        GROUPS.iter().map(|(name, regex)| format!("'{name}' => {}, ", quoted(regex))).collect();
    for section in config::GROUP_SECTIONS {
        writeln!(text, "{} => {{ {groups} }},", section.replace('-', "_")).unwrap();
    }
    text
}

#[test]
fn puppet_and_puppet_lint_take_every_file() {
    let Some([puppet, lint]) = installed("the puppet module", ["puppet", "puppet-lint"]) else {
        return;
    };
    let puppet = Puppet::new(puppet);
    let manifests = files(".pp");
    let manifests: Vec<&str> = manifests.iter().map(String::as_str).collect();
    let templates = files(".epp");
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();

    let outcome = puppet.run(&[&["parser", "validate"], &manifests[..]].concat());
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let outcome = puppet.run(&[&["epp", "validate"], &templates[..]].concat());
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let outcome = run(&lint, &[&["--fail-on-warnings"], &manifests[..]].concat());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{}", outcome.stderr);

    let broken = puppet.path("broken.pp");
    fs::write(&broken, "class haproxystats {\n  file { '/x': ensure => \"file\" }\n").unwrap();
    let broken = broken.to_str().unwrap();
    assert_eq!(puppet.run(&["parser", "validate", broken]).code, Some(1));
    assert_eq!(run(&lint, &["--fail-on-warnings", broken]).code, Some(1));
    let broken = puppet.path("broken.epp");
    fs::write(&broken, "<% if true { %>\n").unwrap();
    assert_eq!(puppet.run(&["epp", "validate", broken.to_str().unwrap()]).code, Some(1));
}

#[test]
fn puppet_brings_every_value_to_the_programs() {
    let Some([puppet]) = installed("the values of the puppet module", ["puppet"]) else { return };
    let puppet = Puppet::new(puppet);
    let values = other_values(puppet.folder.path());
    let manifest = puppet.manifest(&every_parameter(&values));

    let outcome = puppet.apply(&manifest, &[]);
    assert_eq!(outcome.code, Some(2), "{}{}", outcome.stdout, outcome.stderr);
    let file = puppet.path("haproxystats.conf");
    assert_eq!(loaded(&file), expected(&values), "{}", puppet.read("haproxystats.conf"));
    for section in config::GROUP_SECTIONS {
        assert_eq!(names_in(&puppet.read("haproxystats.conf"), section), ["web", "api"]);
    }

    let outcome = puppet.apply(&manifest, &[]);
    assert_eq!(outcome.code, Some(0), "a second run: {}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn puppet_restarts_what_has_changed_and_keeps_a_bad_file_out() {
    let Some([puppet, analyze]) =
        installed("a life with the puppet module", ["puppet", "systemd-analyze"])
    else {
        return;
    };
    let puppet = Puppet::new(puppet);
    let outcome = puppet.apply(&puppet.manifest(""), &[]);
    assert_eq!(outcome.code, Some(2), "{}{}", outcome.stdout, outcome.stderr);
    let text = puppet.read("haproxystats.conf");
    assert!(!text.contains('['), "nothing is set, yet something is written: {text}");
    assert!(puppet.read("services").starts_with("start\n"), "{}", puppet.read("services"));
    let unit = puppet.read("units/haproxystats-process.service.d/puppet.conf");
    assert!(!unit.contains("ReadWritePaths") && !unit.contains("TimeoutStopSec"), "{unit}");

    // The new file restarts both services, once each.
    fs::remove_file(puppet.path("services")).unwrap();
    let base = puppet.path("base");
    let options = format!(
        "cpus_process => [0], graphite_connect_timeout => 40, paths_base_dir => '{}',",
        base.display()
    );
    let outcome = puppet.apply(&puppet.manifest(&options), &[]);
    assert_eq!(outcome.code, Some(2), "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(puppet.read("services"), "restart\nrestart\n");
    assert!(base.is_dir(), "the state directory is not made");
    let unit = puppet.read("units/haproxystats-process.service.d/puppet.conf");
    let writable = format!("ReadWritePaths={}", base.display());
    for line in ["CPUAffinity=0", "TimeoutStopSec=57s", &writable] {
        assert!(unit.lines().any(|present| present == line), "{line} is missing:\n{unit}");
    }
    judge_units(&puppet, &analyze);

    // The type accepts this value but the program does not: the old file stays, without a restart.
    let before = puppet.read("haproxystats.conf");
    let options = "process_server_metrics => ['-scur'],";
    let outcome = puppet.apply(&puppet.manifest(options), &[]);
    assert!(matches!(outcome.code, Some(4 | 6)), "{:?} {}", outcome.code, outcome.stdout);
    let output = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(output.contains("a name to leave out of no list"), "{output}");
    assert_eq!(puppet.read("haproxystats.conf"), before);
    assert_eq!(puppet.read("services"), "restart\nrestart\n");
}

/// systemd accepts the units with the drop-ins, and refuses a broken drop-in.
fn judge_units(puppet: &Puppet, analyze: &str) {
    for program in ["haproxystats-pull", "haproxystats-process"] {
        let unit = puppet.path("units").join(format!("{program}.service"));
        let verify = || run(analyze, &["verify", "--recursive-errors=no", unit.to_str().unwrap()]);
        let outcome = verify();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("puppet.conf"), "{}", outcome.stderr);
        let drop_in = puppet.path("units").join(format!("{program}.service.d/puppet.conf"));
        let text = fs::read_to_string(&drop_in).unwrap();
        fs::write(&drop_in, text.replace("-d ", "-d \"")).unwrap();
        assert_ne!(verify().stderr, "", "a broken drop-in of {program} is taken");
        fs::write(&drop_in, text).unwrap();
    }
}

/// Plans the default, with package, user and services, against this machine without changing it.
#[test]
fn puppet_plans_the_default_and_a_machine_that_only_pulls() {
    let Some([puppet]) = installed("plans of the puppet module", ["puppet"]) else { return };
    let puppet = Puppet::new(puppet);
    let outcome = puppet.apply("include haproxystats\n", &["--noop"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let parts = ["Package[haproxystats]", "File[/etc/haproxystats.conf]", "Process/", "Pull/"];
    for part in parts {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }

    let only = "class { 'haproxystats': install => 'files', programs => ['pull'] }\n";
    let outcome = puppet.apply(only, &["--noop"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("File[/usr/bin/haproxystats-pull]"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("haproxystats-process"), "{}", outcome.stdout);
}

/// All checks are in one run, because puppet takes seconds to start.
#[test]
fn functions_and_types_of_the_module_judge_as_they_say() {
    let Some([puppet]) = installed("types of the puppet module", ["puppet"]) else { return };
    let puppet = Puppet::new(puppet);
    let cpus = [
        ("1, 4", "[0]"),
        ("2, 4", "[1]"),
        ("4, 1", "[3]"),
        ("8, 4", "[6, 7]"),
        ("40, 4", "[36, 37, 38, 39]"),
        ("64, 512", "[51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63]"),
    ];
    let right = [
        ("Limit", "0.001"),
        ("Pause", "0"),
        ("Factor", "1"),
        ("Path", "'/a b'"),
        ("Path", "'${paths:base-dir}/x'"),
        ("Host", "'::1'"),
        ("Prefix", "'a.b'"),
        ("ServerList", "'a:2003'"),
        ("ServerList", "['a', '[::1]:2003', 'unix:///a']"),
        ("Url", "'https://[::1]:8086/x'"),
        ("Text", "'a b'"),
        ("Tags", "'a=b, c=d e'"),
        ("Brokers", "'k1, [::1]:9092'"),
        ("Topic", "'a.b_C-1'"),
        ("Servers", "['tcp://[::1]:1', 'unix:///a']"),
        ("Metrics", "'all'"),
        ("Groups", "{ 'a.b' => '^x$' }"),
        ("Cpus", "'last'"),
        ("Loglevel", "'critical'"),
    ];
    let wrong = [
        ("Limit", "0"),
        ("Limit", "0.0001"),
        ("Pause", "-1"),
        ("Factor", "0.5"),
        ("Path", "'a/b'"),
        ("Path", r#""/a\nb""#),
        ("Host", "'a b'"),
        ("Prefix", "'a..b'"),
        ("Url", "'http://me:secret@a'"),
        ("Url", "'udp://a'"),
        ("Text", "''"),
        ("Text", r#""a\nb""#),
        ("Tags", "'a'"),
        ("Brokers", "'k1,,k2'"),
        ("Topic", "'a b'"),
        ("Servers", "['tcp://a']"),
        ("Servers", "[]"),
        ("ServerList", "[]"),
        ("Metrics", "'stot'"),
        ("Groups", "{ 'a b' => 'x' }"),
        ("Groups", r#"{ 'a' => "x\n[graphite]" }"#),
        ("Cpus", "'first'"),
        ("Loglevel", "'loud'"),
    ];
    let mut manifest = String::new();
    for (arguments, numbers) in cpus {
        let call = format!("haproxystats::last_cpus({arguments})");
        writeln!(manifest, "if {call} != {numbers} {{ fail('{call}') }}").unwrap();
    }
    for (kind, value) in right {
        writeln!(manifest, "unless {value} =~ Haproxystats::{kind} {{ fail({value}) }}").unwrap();
    }
    for (kind, value) in wrong {
        writeln!(manifest, "if {value} =~ Haproxystats::{kind} {{ fail({value}) }}").unwrap();
    }
    let outcome = puppet.apply(&manifest, &[]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);

    // All checks above rely on `fail`, which the class uses too.
    let outcome = puppet.apply("class { 'haproxystats': config_file => '/a b' }\n", &["--noop"]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("/a b is no absolute path"), "{}", outcome.stderr);
}
