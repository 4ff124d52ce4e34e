//! The Debian packages that the tests need, on a machine without them.
//!
//! apt simulates their installation with lists that it has just fetched, and with an empty list of
//! installed packages: a name that this release does not have fails, and so does a conflict. The
//! machine of a developer has the packages already and would hide both.

/// The name in the table.
pub(super) const NAME: &str = "apt-get --simulate";

/// The line for the shell.
pub(super) fn line(packages: &[&str]) -> String {
    format!(
        "apt-get -q update && apt-get -q --simulate -o Dir::State::status=/dev/null \
         install --no-install-recommends {}",
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_package_counts_as_installed_and_none_is_installed() {
        let line = line(&["haproxy", "rpm"]);
        assert!(line.starts_with("apt-get -q update && "), "{line}");
        assert!(line.contains(" --simulate -o Dir::State::status=/dev/null install "), "{line}");
        assert!(line.ends_with(" haproxy rpm"), "{line}");
    }
}
