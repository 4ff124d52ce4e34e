//! The steps of docs/migrating.md from the Python programs: an old file is understood, with
//! warnings about options without effect, and the recipe that compares two runs finds no difference
//! from the original's recorded lines.
//!
//! `sh` runs the recipe of the page; only its two folders are replaced.

use std::fs;
use std::path::Path;

use crate::contrib::page::code;
use crate::scene::{Scene, copy_files};
use crate::support::{Outcome, PROCESS, PULL, data, run, wait_until};

const PAGE: &str = "docs/migrating.md";
const SNAPSHOT: &str = "1700000000";
/// The warnings about the old file, after the name of the file.
const EXPECTED: [&str; 6] = [
    "4: [DEFAULT] retries: no effect: every section has a default of its own; serves references \
     such as ${DEFAULT:retries}; leave it out",
    "5: [DEFAULT] timeout: no effect: every section has a default of its own; serves references \
     such as ${DEFAULT:timeout}; leave it out",
    "6: [DEFAULT] interval: no effect: every section has a default of its own; serves references \
     such as ${DEFAULT:interval}; leave it out",
    "15: [pull] buffer-limit: no effect: an answer is read in pieces of up to 64 KiB; leave it out",
    "44: [graphite] timeout: unknown option, not read; write connect-timeout",
    "50: [graphite] prefix_hostname: unknown option, not read; write prefix-hostname",
];

#[test]
fn an_old_configuration_is_understood_and_its_old_spellings_are_told() {
    let old = data("migration/old.conf");
    let old = old.to_str().unwrap();
    for (program, shown) in [
        (PULL, ["socket-dir = /run/haproxy\n", "dst-dir = /srv/haproxystats/incoming\n"]),
        (PROCESS, ["prefix-hostname = true\n", "failed-dir = /srv/haproxystats/failed\n"]),
    ] {
        let Outcome { code, stdout, stderr } = run(program, &["-P", "-f", old]);
        assert_eq!(code, Some(0), "{stderr}");
        let warnings: Vec<&str> =
            stderr.lines().map(|line| line.rsplit_once("old.conf:").unwrap().1).collect();
        assert_eq!(warnings, EXPECTED);
        assert!(shown.iter().all(|line| stdout.contains(line)), "{stdout}");
    }
    // The page quotes what this file gets.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let quoted: Vec<&str> =
        page.lines().filter_map(|line| line.trim().strip_prefix("old.conf:")).collect();
    assert_eq!(quoted, EXPECTED);
}

/// Writes our lines for a case of the original to `local-store` below the scene.
fn ours(scene: &Scene, case: &Path) {
    let text = fs::read_to_string(case.join("conf.ini")).unwrap();
    let text = text.replace("@DIR@", scene.path().to_str().unwrap()).replace("@PORT@", "9");
    let text = text.replace("[graphite]\n", "[graphite]\nenabled = false\n");
    let config = scene.write("conf.ini", &text.replace("/out\n", "/local-store\n"));
    let aside = scene.path().join("aside");
    copy_files(&case.join(SNAPSHOT), &aside);
    fs::rename(aside, scene.incoming().join(SNAPSHOT)).unwrap();
    let process = scene.process(&config);
    wait_until("an empty spool", || scene.waiting().is_empty());
    process.finish();
}

#[test]
fn the_recipe_finds_no_difference_from_the_original_and_one_where_there_is_one() {
    let scene = Scene::new();
    let case = data("parity/12-groups-double");
    ours(&scene, &case);
    let old = scene.path().join("old");
    let lines = fs::read_to_string(case.join("expected.txt")).unwrap();
    scene.write(&format!("old/{SNAPSHOT}/stats"), &lines);

    let recipe = code(PAGE, "## Compare the two");
    let recipe = recipe[recipe.find("figures() {").unwrap()..]
        .replace("/var/lib/haproxystats/local-store", old.to_str().unwrap())
        .replace("/var/tmp/compare", scene.path().to_str().unwrap());
    assert!(!recipe.contains("/var/"), "another folder: {recipe}");
    let recipe = scene.write("recipe.sh", &recipe);
    let compare = || run("sh", &[recipe.to_str().unwrap()]);

    let same = compare();
    assert_eq!((same.code, &*same.stdout, &*same.stderr), (Some(0), "", ""));
    let compared = fs::read_to_string(scene.path().join("new.lines")).unwrap();
    assert!(compared.lines().count() > 1000, "nothing was compared");

    let changed = lines.replacen(".bin ", ".bin 1", 1);
    assert_ne!(changed, lines);
    scene.write(&format!("old/{SNAPSHOT}/stats"), &changed);
    let differs = compare();
    assert!(differs.stdout.ends_with(&format!("{SNAPSHOT} differs\n")), "{}", differs.stdout);
    assert_eq!(differs.stdout.lines().count(), 5, "{}", differs.stdout);
}
