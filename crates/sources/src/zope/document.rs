//! The line that `perf_metrics` answers: an object of categories, each an object of numbers.

use std::collections::BTreeMap;

use model::column::is_number;
use serde_json::value::RawValue;

/// Bytes of the name of a category, and of a metric in it.
const NAME_MAX_BYTES: usize = 100;

/// Bytes of an answer in a message.
const QUOTE_BYTES: usize = 80;

/// The metrics of an instance.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metrics {
    /// The text of each number, by `category.name`.
    pub(super) values: BTreeMap<String, String>,
    /// The names of values that no receiver takes, escaped.
    pub(super) others: Vec<String>,
}

/// What an answer is if it holds no metrics.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// `{"error": …}`, with the text, escaped.
    Error(String),
    /// JSON that ends too early.
    Cut,
    /// A line of another kind, with its beginning, escaped.
    NoJson(String),
    /// JSON without a number.
    NoMetrics,
}

/// Reads an answer.
pub(super) fn metrics(answer: &[u8]) -> Result<Metrics, Problem> {
    let answer = answer.trim_ascii();
    let categories: BTreeMap<String, &RawValue> =
        serde_json::from_slice(answer).map_err(|error| {
            let is_cut = error.is_eof() || !answer.ends_with(b"}");
            if answer.starts_with(b"{") && is_cut { Problem::Cut } else { no_json(answer) }
        })?;
    if let Some(error) = categories.get("error") {
        let text = serde_json::from_str::<String>(error.get());
        let text = text.unwrap_or_else(|_| error.get().to_owned());
        return Err(Problem::Error(quoted(text.as_bytes())));
    }
    let mut metrics = Metrics::default();
    for (category, fields) in categories {
        let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(fields.get()) else {
            metrics.others.push(quoted(category.as_bytes()));
            continue;
        };
        for (field, value) in fields {
            let name = format!("{category}.{field}");
            if is_name(&category) && is_name(&field) && is_number(value.get()) {
                metrics.values.insert(name, value.get().to_owned());
            } else {
                metrics.others.push(quoted(name.as_bytes()));
            }
        }
    }
    if metrics.values.is_empty() { Err(Problem::NoMetrics) } else { Ok(metrics) }
}

/// Whether a name can be a part of Graphite's paths and of InfluxDB's fields as it is.
fn is_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(is_legal)
}

fn no_json(answer: &[u8]) -> Problem {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Problem::NoJson(quoted(line.trim_ascii()))
}

fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(QUOTE_BYTES)]);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn values(answer: &str) -> Vec<(String, String)> {
        metrics(answer.as_bytes()).unwrap().values.into_iter().collect()
    }

    #[test]
    fn a_number_keeps_its_text() {
        let texts =
            ["30000", "-1", "0.12345678901234567", "1.50", "12345678901234567890123", "1e5"];
        for text in texts {
            let found = values(&format!(" {{\"a\": {{\"b\" : {text} }}}}\r\n"));
            assert_eq!(found, [("a.b".to_owned(), text.to_owned())]);
        }
    }

    #[test]
    fn what_is_no_number_is_named_and_left_out() {
        let answer = br#"{"a":{"b":1,"c":null,"d":"x","e":[1],"f":true,"g h":2,"":3,"i":1e999},
            "k.l":{"m":1},"n":7,"o\u001b":{"p":1}}"#;
        let found = metrics(answer).unwrap();
        assert_eq!(found.values.keys().collect::<Vec<_>>(), ["a.b"]);
        let others = "a. a.c a.d a.e a.f a.g h a.i k.l.m n o\\u{1b}.p";
        assert_eq!(found.others.join(" "), others);
    }

    #[test]
    fn an_answer_without_metrics_says_what_it_is() {
        let disconnected = r#"{"error": "Database 'main' disconnected."}"#;
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        let long = "x".repeat(1000);
        for (answer, problem) in [
            (disconnected, Problem::Error("Database \\'main\\' disconnected.".to_owned())),
            (r#"{"error": {"a": 1}}"#, Problem::Error("{\\\"a\\\": 1}".to_owned())),
            (r#"{"error": "a\u0007\nb"}"#, Problem::Error("a\\u{7}\\nb".to_owned())),
            ("{\"a\":{\"b\":1}", Problem::Cut),
            ("{", Problem::Cut),
            (&deep, Problem::Cut),
            ("{}", Problem::NoMetrics),
            (r#"{"a":{},"b":{"c":"x"}}"#, Problem::NoMetrics),
            ("Instance is booting\n", Problem::NoJson("Instance is booting".to_owned())),
            ("", Problem::NoJson(String::new())),
            ("[1]", Problem::NoJson("[1]".to_owned())),
            ("{\"a\":{\"b\":NaN}}", Problem::NoJson("{\\\"a\\\":{\\\"b\\\":NaN}}".to_owned())),
            ("\u{1b}[2J\u{e9}\nx", Problem::NoJson("\\u{1b}[2J\u{e9}".to_owned())),
            (&long, Problem::NoJson("x".repeat(QUOTE_BYTES))),
        ] {
            assert_eq!(metrics(answer.as_bytes()), Err(problem), "{answer}");
        }
        assert!(matches!(metrics(b"{\"a\":{\"b\xff\":1}}"), Err(Problem::NoJson(_))));
    }

    proptest! {
        /// No bytes make it panic, and every value that comes out is a number.
        #[test]
        fn any_bytes_are_read(bytes in any::<Vec<u8>>(), value in "[-+0-9.eE]{0,12}") {
            let _ = metrics(&bytes);
            if let Ok(found) = metrics(format!("{{\"a\":{{\"b\":{value}}}}}").as_bytes()) {
                assert!(found.values.values().all(|text| text.parse::<f64>().unwrap().is_finite()));
            }
        }
    }
}
