//! Guesses the known name that a misspelled one stands for.

/// The known name nearest to a written one, unless all are far away.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A name with more than a third of its letters wrong is another word and not a misspelling.
    // Case is ignored.
    let written = written.to_lowercase();
    let mistakes_max = written.chars().count() / 3;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= mistakes_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_recognized_and_another_word_is_not() {
        let known = ["timeout", "pull-timeout", "servers"];
        assert_eq!(nearest("time-out", known), Some("timeout"));
        assert_eq!(nearest("SERVERS", known), Some("servers"));
        assert_eq!(nearest("colour", known), None);
    }
}
