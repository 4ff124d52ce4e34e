//! The form of a manifest, and every way in which a manifest can be wrong.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

fn manifest() -> Manifest {
    Manifest {
        origin: "lb1".to_owned(),
        serial: 0x1f,
        cycle: Cycle { endpoints: 2, missing: 1, cycles: 7, milliseconds: 15, ..Cycle::default() },
        files: vec![AnswerFile {
            name: "a_info".to_owned(),
            source: "haproxy".to_owned(),
            endpoint: "unix:///run/a".to_owned(),
            worker: None,
            generation: Generation::Current,
        }],
        unanswered: vec![Unanswered {
            endpoint: "tcp://lb1:80".to_owned(),
            reason: "cannot connect".to_owned(),
        }],
        natures: [("h4_peak".to_owned(), "max".to_owned())].into(),
    }
}

const TEXT: &str = r#"{
  "version": 1,
  "origin": "lb1",
  "serial": "000000000000001f",
  "cycle": {
    "endpoints": 2,
    "missing": 1,
    "cycles": 7,
    "failures": 0,
    "endpoint-failures": 0,
    "skipped": 0,
    "milliseconds": 15
  },
  "files": [
    {
      "name": "a_info",
      "source": "haproxy",
      "endpoint": "unix:///run/a"
    }
  ],
  "unanswered": [
    {
      "endpoint": "tcp://lb1:80",
      "reason": "cannot connect"
    }
  ],
  "natures": {
    "h4_peak": "max"
  }
}
"#;

fn snapshot(text: impl AsRef<[u8]>) -> tempfile::TempDir {
    let snapshot = tempfile::tempdir().unwrap();
    fs::write(snapshot.path().join(FILE_NAME), text).unwrap();
    snapshot
}

fn header_of(snapshot: &tempfile::TempDir) -> Header {
    header(snapshot.path()).unwrap()
}

fn timestamp() -> Timestamp {
    Timestamp::of_seconds(1_700_000_000)
}

#[test]
fn the_form_is_fixed() {
    assert_eq!(manifest().to_json().unwrap(), TEXT);
    let snapshot = snapshot(TEXT);
    assert_eq!(read(snapshot.path()).unwrap(), Some(manifest()));
    let identity = Identity { origin: "lb1".to_owned(), serial: 0x1f };
    let expected = Header {
        identity: Some(identity),
        cycle: Some(manifest().cycle),
        natures: manifest().natures,
    };
    assert_eq!(header_of(&snapshot), expected);
}

#[test]
fn unknown_fields_are_passed_over_and_most_may_be_missing() {
    let text = r#"{"colour": ["blue"], "serial": "F", "version": 1, "origin": "lb1",
                   "cycle": {"endpoints": 2, "rings": 3}}"#;
    let read = read(snapshot(text).path()).unwrap().unwrap();
    let cycle = Cycle { endpoints: 2, ..Cycle::default() };
    let (files, unanswered) = (Vec::new(), Vec::new());
    let expected = Manifest {
        origin: "lb1".to_owned(),
        serial: 15,
        cycle,
        files,
        unanswered,
        natures: BTreeMap::new(),
    };
    assert_eq!(read, expected);
}

#[test]
fn a_newer_manifest_says_what_to_upgrade() {
    // Nothing but the version need be as we know it.
    let snapshot = snapshot(r#"{"version": 2, "serial": {"high": 1, "low": 2}}"#);
    let text = read(snapshot.path()).unwrap_err().to_string();
    assert!(text.contains("has the version 2, and this program reads no newer one than 1"));
    assert!(text.contains("upgrade haproxystats-process"), "{text}");
    assert!(matches!(header(snapshot.path()), Err(Error::Newer { version: 2, .. })));
}

#[test]
fn text_that_is_no_manifest_is_refused() {
    let with = |field: &str, value: &str| {
        let mut json: serde_json::Value = serde_json::from_str(TEXT).unwrap();
        json[field] = serde_json::from_str(value).unwrap();
        json.to_string().into_bytes()
    };
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    for text in [
        b"".to_vec(),
        b"endpoints 4\n".to_vec(),
        b"{}".to_vec(),
        TEXT.as_bytes()[..TEXT.len() - 3].to_vec(),
        b"\xff".to_vec(),
        deep,
        with("version", "-1"),
        with("serial", "31"),
        with("serial", r#""""#),
        with("serial", r#""+1f""#),
        with("serial", r#""10000000000000000""#),
        with("origin", "null"),
        with("cycle", r#"{"endpoints": 1.5}"#),
    ] {
        let snapshot = snapshot(&text);
        for error in [read(snapshot.path()).err(), header(snapshot.path()).err()] {
            let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
            assert!(matches!(error, Some(Error::Malformed { .. })), "{shown}: {error:?}");
        }
    }
    for origin in [r#""""#, r#""../lb1""#, r#""lb1\n""#, &format!("\"{}\"", "x".repeat(256))] {
        let error = read(snapshot(with("origin", origin)).path()).unwrap_err();
        assert!(matches!(error, Error::Origin { .. }), "{origin}: {error}");
    }
}

#[test]
fn only_regular_files_within_the_bound_are_opened() {
    let snapshot = tempfile::tempdir().unwrap();
    let path = snapshot.path().join(FILE_NAME);
    let refused = |why: &str| {
        for error in [read(snapshot.path()).err(), header(snapshot.path()).err()] {
            assert!(matches!(error, Some(Error::Unusable { .. })), "{why}: {error:?}");
        }
    };
    // Opening a pipe would block until another process writes to it.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    refused("pipe");
    fs::remove_file(&path).unwrap();
    for target in ["/dev/zero", "nowhere"] {
        symlink(target, &path).unwrap();
        refused(target);
        fs::remove_file(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    refused("directory");
    fs::remove_dir(&path).unwrap();
    let file = fs::File::create(&path).unwrap();
    file.set_len(MANIFEST_MAX_BYTES + 1).unwrap();
    refused("large");
}

#[test]
fn a_snapshot_without_a_manifest_is_of_this_machine() {
    let snapshot = tempfile::tempdir().unwrap();
    assert_eq!(read(snapshot.path()).unwrap(), None);
    assert_eq!(header_of(&snapshot), Header::default());
    fs::write(snapshot.path().join(cycle::FILE_NAME), "endpoints 4\ncycles 7\n").unwrap();
    let header = header_of(&snapshot);
    assert_eq!(header.cycle, Some(Cycle { endpoints: 4, cycles: 7, ..Cycle::default() }));
    let id = header.snapshot_id(timestamp(), "lb9");
    let origin = "lb9".to_owned();
    assert_eq!(id, SnapshotId { origin, timestamp: timestamp(), serial: 0 });
    fs::write(snapshot.path().join(cycle::FILE_NAME), "endpoints\n").unwrap();
    let error = super::header(snapshot.path()).unwrap_err().to_string();
    assert!(error.contains("haproxystats.cycle") && error.contains("line 1"), "{error}");
}

#[test]
fn a_manifest_comes_before_the_file_of_version_0_1_0() {
    let snapshot = snapshot(TEXT);
    fs::write(snapshot.path().join(cycle::FILE_NAME), "endpoints 99\n").unwrap();
    assert_eq!(header_of(&snapshot).cycle.unwrap().endpoints, 2);
}

/// The largest snapshot that pull makes: its manifest must be readable.
#[test]
fn the_largest_manifest_is_below_the_bound() {
    // The path of a UNIX socket has at most 108 bytes; an escaped byte takes six characters.
    let endpoint = "\\u{1b}".repeat(108);
    let file = || AnswerFile {
        name: "x".repeat(255),
        source: "haproxy".to_owned(),
        endpoint: endpoint.clone(),
        worker: None,
        generation: Generation::Current,
    };
    let files = (0..crate::writer::FILES_MAX).map(|_| file()).collect();
    let text = Manifest { files, ..manifest() }.to_json().unwrap();
    assert!(text.len() as u64 <= MANIFEST_MAX_BYTES, "{} bytes", text.len());
}

/// An older reader ignores the generation, and a file of an older pull has none.
#[test]
fn workers_are_told_only_where_there_are_some() {
    let [worker, generation] = ["\"worker\"", "\"generation\""];
    let text = manifest().to_json().unwrap();
    assert!(!text.contains(worker) && !text.contains(generation), "{text}");
    let [name, source] = ["m@7_info", "haproxy"].map(str::to_owned);
    let file = AnswerFile::new(name, source, "unix:///run/m".to_owned());
    let file = AnswerFile { worker: Some(7), generation: Generation::Old, ..file };
    let text = Manifest { files: vec![file], ..manifest() }.to_json().unwrap();
    assert!(
        text.contains("\"worker\": 7,\n") && text.contains("\"generation\": \"old\""),
        "{text}"
    );
}

proptest! {
    /// process reads the same manifest that pull wrote, with any text in it.
    #[test]
    fn a_manifest_reads_back(
        origin in "[^/\\p{Cc}]{1,60}",
        serial in any::<u64>(),
        endpoints in any::<u64>(),
        names in proptest::collection::vec("(?s).{0,20}", 0..5),
    ) {
        let files: Vec<_> = names.iter().map(|name| AnswerFile {
            name: name.clone(),
            source: "haproxy".to_owned(),
            endpoint: format!("unix://{name}"),
            worker: (name.len() % 3 == 0).then_some(4711),
            generation: if name.len() % 2 == 0 { Generation::Old } else { Generation::Current },
        }).collect();
        let unanswered = names.iter().map(|name| Unanswered {
            endpoint: name.clone(),
            reason: name.clone(),
        }).collect();
        let cycle = Cycle { endpoints, workers: endpoints, ..Cycle::default() };
        let cycle = Cycle { old_workers: Some(endpoints), without_servers: true, ..cycle };
        let natures = names.iter().map(|name| (name.clone(), name.clone())).collect();
        let manifest = Manifest { origin, serial, cycle, files, unanswered, natures };
        let snapshot = snapshot(manifest.to_json().unwrap());
        let id = header_of(&snapshot).snapshot_id(timestamp(), "another machine");
        prop_assert_eq!((&id.origin, id.serial), (&manifest.origin, serial));
        prop_assert_eq!(read(snapshot.path()).unwrap(), Some(manifest));
    }
}

/// A damaged nature must not cost the manifest; the reader of the natures tells of it.
#[test]
fn a_nature_that_is_no_text_costs_nothing_else() {
    let damaged = TEXT.replace("\"h4_peak\": \"max\"", "\"h4_peak\": [1], \"h4\": \"gauge\"");
    let header = header_of(&snapshot(damaged));
    let expected = [("h4", "gauge"), ("h4_peak", "[1]")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(header.natures, expected.into());
    assert_eq!(header.cycle, Some(manifest().cycle));
    let without = TEXT.replace(",\n  \"natures\": {\n    \"h4_peak\": \"max\"\n  }", "");
    assert_eq!(header_of(&snapshot(without)).natures, BTreeMap::new());
}
