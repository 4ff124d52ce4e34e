//! The name that was probably meant.

/// The known name nearest to a written one, unless all are far away.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A third of the letters wrong is a slip, more is another word. Upper and lower case is the
    // least of slips.
    let written = written.to_lowercase();
    let slips = written.chars().count() / 3;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_word_is_not() {
        let known = ["timeout", "pull-timeout", "servers"];
        assert_eq!(nearest("time-out", known), Some("timeout"));
        assert_eq!(nearest("SERVERS", known), Some("servers"));
        assert_eq!(nearest("colour", known), None);
    }
}
