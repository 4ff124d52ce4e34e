//! The dashboards as files: their targets, the variables in them, and the paths that they ask for.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::wait_until;

/// Every dashboard of either kind.
pub(super) const NAMES: [&str; 4] = ["overview", "frontend", "backend", "haproxystats"];

/// One target, and its place in a dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) place: String,
    pub(super) text: String,
}

pub(super) fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path)
}

pub(super) fn read(kind: &str, name: &str) -> Value {
    let path = contrib(kind).join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Every target gets points, and no point is below 0. `feed` brings new points before each round of
/// questions; a target without points gets `None`.
pub(super) fn assert_points<T: Clone + Debug>(
    targets: &[T],
    mut feed: impl FnMut(),
    points: impl Fn(&T) -> Option<Vec<f64>>,
) {
    let mut without = targets.to_vec();
    let mut passes = 0;
    wait_until("points for every target", || {
        feed();
        without.retain(|target| {
            let Some(points) = points(target) else { return true };
            assert!(points.iter().all(|point| *point >= 0.0), "{target:?}: {points:?}");
            false
        });
        passes += 1;
        if passes % 10 == 0 {
            eprintln!("still without points: {without:#?}");
        }
        without.is_empty()
    });
}

/// All targets of Grafana's dashboard of that name.
pub(super) fn grafana_targets(name: &str) -> Vec<Target> {
    targets_of(name, &read("grafana", name))
}

pub(super) fn targets_of(name: &str, board: &Value) -> Vec<Target> {
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let place = format!("grafana/{name}, {}", panel["title"]);
        let targets = panel["targets"].as_array().unwrap().iter();
        targets.map(move |target| Target {
            place: place.clone(),
            text: target["target"].as_str().unwrap().to_owned(),
        })
    });
    targets.collect()
}

/// All targets of graphite-web's dashboard of that name.
pub(super) fn graphite_targets(name: &str) -> Vec<Target> {
    let board = read("graphite", name);
    let graphs = board["graphs"].as_array().unwrap().iter();
    let targets = graphs.flat_map(|graph| {
        let place = format!("graphite/{name}, {}", graph[1]["title"]);
        let targets = graph[1]["target"].as_array().unwrap().iter();
        targets.map(move |target| Target {
            place: place.clone(),
            text: target.as_str().unwrap().to_owned(),
        })
    });
    targets.collect()
}

/// Replaces variables by values: `$name` or a word, depending on the kind of the dashboard.
pub(super) fn substitute(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The paths in a target, without names of functions, numbers and quoted texts.
pub(super) fn paths(target: &str) -> Vec<String> {
    let bare: String = target.split('\'').step_by(2).collect();
    let mut paths = Vec::new();
    let mut path = String::new();
    let mut braces = 0;
    for letter in bare.chars() {
        match letter {
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        if letter == '(' {
            path.clear();
        } else if letter == ')' || letter.is_whitespace() || (letter == ',' && braces == 0) {
            paths.push(std::mem::take(&mut path));
        } else {
            path.push(letter);
        }
    }
    paths.push(path);
    paths.retain(|path| path.contains('.') && path.parse::<f64>().is_err());
    paths.iter().flat_map(|path| alternatives(path)).collect()
}

/// `a.{b,c}` stands for `a.b` and `a.c`, and both must exist.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (choices, after) = rest.split_once('}').unwrap();
    let one = |choice: &str| alternatives(&format!("{before}{choice}{after}"));
    choices.split(',').flat_map(one).collect()
}

/// Targets with a path that is not in `there`.
pub(super) fn strangers(targets: &[Target], there: &BTreeSet<String>) -> Vec<Target> {
    let known = |path: &String| there.iter().any(|real| matches(path, real));
    let strange = |target: &&Target| {
        let paths = paths(&target.text);
        paths.is_empty() || !paths.iter().all(known)
    };
    targets.iter().filter(strange).cloned().collect()
}

/// Matches like Graphite: a `*` stays within its part.
fn matches(pattern: &str, path: &str) -> bool {
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, path) = (parts(pattern), parts(path));
    let part = |(pattern, part): (&String, &String)| match pattern.split_once('*') {
        None => pattern == part,
        Some((before, after)) => {
            part.len() >= before.len() + after.len()
                && part.starts_with(before)
                && part.ends_with(after)
        }
    };
    pattern.len() == path.len() && pattern.iter().zip(&path).all(part)
}

#[test]
fn paths_are_found_in_targets() {
    let target = "alias(offset(scale(averageSeries(a.*.{b,c}), -1), 100.5), 'd.e, f')";
    assert_eq!(paths(target), ["a.*.b", "a.*.c"]);
    let target = "asPercent(sumSeries(perSecond(a.x_5xx)), sumSeries(perSecond(a.x_*)))";
    assert_eq!(paths(target), ["a.x_5xx", "a.x_*"]);
    assert!(matches("a.x_*", "a.x_1") && !matches("a.x_*", "a.x_1.b") && !matches("a.*x", "a.y"));
}
