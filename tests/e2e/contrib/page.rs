//! The code blocks of the pages, for tests that run them as they are written.

use std::fs;
use std::path::Path;

/// The code below a heading of a page and its sub-headings, without the indent. A comment of the
/// shell, `# step: …`, stands for each sub-heading.
pub(super) fn code(page: &str, heading: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let level = heading.chars().take_while(|c| *c == '#').count();
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "{page} has no heading {heading}");
    let is_next = |line: &str| {
        let depth = line.chars().take_while(|c| *c == '#').count();
        depth > 0 && depth <= level
    };
    let mut code = String::new();
    for line in lines.take_while(|line| !is_next(line)) {
        let line = match (line.strip_prefix("    "), line.strip_prefix("### ")) {
            (Some(line), _) => line.to_owned(),
            (None, Some(step)) => format!("# step: {step}"),
            (None, None) => continue,
        };
        code.push_str(&line);
        code.push('\n');
    }
    code
}
