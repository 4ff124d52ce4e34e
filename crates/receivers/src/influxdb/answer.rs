//! What an answer to a write means: a pure decision on status, headers and text.
//!
//! The text counts more than the status. InfluxDB says "partial write" with 400, 422 and 500 when
//! it has stored a request but for some points, so such a request must never be sent again.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// An answer, as far as it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// The header `Retry-After`.
    pub(super) retry_after: Option<&'a str>,
    /// The header `Location`.
    pub(super) location: Option<&'a str>,
    /// The beginning of the body.
    pub(super) body: &'a str,
}

/// What to do after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All points are stored.
    Delivered,
    /// The points are stored, but for some that the server refused.
    Partial { refused: u64, reason: String },
    /// The request is too large.
    TooLarge { reason: String },
    /// The database does not exist.
    NoDatabase { reason: String },
    /// The points must be sent again later, after a pause if the server asks for it.
    Wait { reason: String, pause: Option<Duration> },
    /// As `Wait`, but the reason may be the points: others must have their turn.
    Doubtful { reason: String },
    /// The server has taken no point, because it does not understand at least one of them.
    Malformed { reason: String },
}

/// The pause after a `Retry-After` that is neither seconds nor a date.
const PAUSE_UNREADABLE: Duration = Duration::from_secs(10);
/// Characters of the server's text in a message.
const TEXT_MAX_CHARS: usize = 300;
/// The server has the points, but for some that it will never take.
const PARTIAL: [&str; 3] =
    ["partial write", "field type conflict", "points beyond retention policy"];
/// The cluster has the points and passes them on by itself.
const QUEUED: &str = "hinted handoff queue not empty";
/// The server is overloaded, whatever the points are.
const OVERLOADED: [&str; 2] = ["\"timeout\"", "cache-max-memory-size exceeded"];
/// The server does not understand the lines. Another refusal, such as a proxy's, may be mended.
const MALFORMED: [&str; 5] = [
    "unable to parse",
    "cannot parse",
    "cannot unmarshal",
    "line protocol",
    "\"code\":\"invalid\"",
];

/// Decides what an answer means.
pub(super) fn verdict(answer: &Answer<'_>, now: SystemTime) -> Verdict {
    let Answer { status, retry_after, location, body } = *answer;
    let lower = body.to_lowercase();
    let is_page = body.trim_start().starts_with('<');
    let said = said(status, body, is_page);
    let has = |part: &&str| lower.contains(*part);
    // A page of a proxy can hold any word.
    if !is_page && PARTIAL.iter().any(has) {
        return Verdict::Partial { refused: refused(body), reason: said };
    }
    if !is_page && lower.contains(QUEUED) {
        return Verdict::Delivered;
    }
    let wait = |remedy: &str| {
        let pause = retry_after.map(|text| pause(text, now));
        Verdict::Wait { reason: format!("{said}; {remedy}"), pause }
    };
    match status {
        204 => Verdict::Delivered,
        200..=299 if body.trim().is_empty() => Verdict::Delivered,
        200..=299 => wait("that is no answer of InfluxDB: check url"),
        300..=399 => {
            let to = location.map_or_else(String::new, |location| format!(" to {location:?}"));
            wait(&format!("a redirect{to} is not followed: write the final address into url"))
        }
        401 | 403 => wait("check the user or the token, and what it may write"),
        404 if lower.contains("database not found") => Verdict::NoDatabase { reason: said },
        404 => wait("check url, and that the bucket or the database is there"),
        413 => Verdict::TooLarge { reason: said },
        500 if OVERLOADED.iter().any(has) => wait("the server is overloaded: look at its log"),
        429 | 502..=599 => wait("the server is overloaded or away: look at its log"),
        400 | 422 if !is_page && MALFORMED.iter().any(has) => Verdict::Malformed { reason: said },
        _ if is_page => wait("that is no answer of InfluxDB: check url, and what is in between"),
        _ => Verdict::Doubtful { reason: format!("{said}; look at its log") },
    }
}

/// The status and the text of an answer, in one line.
fn said(status: u16, body: &str, is_page: bool) -> String {
    if is_page {
        return format!("answered {status} with a page");
    }
    let text = text_of(body);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(TEXT_MAX_CHARS) {
        _ if text.is_empty() => format!("answered {status}"),
        Some((end, _)) => format!("answered {status}: {}…", &text[..end]),
        None => format!("answered {status}: {text}"),
    }
}

/// The text of a body: of JSON the error, with the first line that is refused.
fn text_of(body: &str) -> String {
    let Ok(Value::Object(object)) = serde_json::from_str(body) else { return body.to_owned() };
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let Some(error) = text("error").or_else(|| text("message")) else { return body.to_owned() };
    // InfluxDB 3 lists the refused lines.
    let first = object.get("data").and_then(|data| data.get(0));
    match first.and_then(|first| first.get("error_message")).and_then(Value::as_str) {
        Some(message) => format!("{error}: {message}"),
        None => error.to_owned(),
    }
}

/// How many points a partial write left out. Where the answer does not tell, at least one.
fn refused(body: &str) -> u64 {
    let listed = match serde_json::from_str::<Value>(body) {
        Ok(json) => json.get("data").and_then(Value::as_array).map_or(0, Vec::len),
        Err(_) => 0,
    };
    let dropped = body.rsplit_once("dropped=").map_or(0, |(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    });
    // InfluxDB 1 says "dropped=0" about lines that it cannot parse, and lists them.
    let unparsed = body.matches("unable to parse").count();
    dropped.max(listed as u64).max(unparsed as u64).max(1)
}

/// The pause that `Retry-After` asks for: seconds or a date.
fn pause(text: &str, now: SystemTime) -> Duration {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Duration::from_secs(seconds);
    }
    match httpdate::parse_http_date(text) {
        Ok(date) => date.duration_since(now).unwrap_or_default(),
        Err(_) => PAUSE_UNREADABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(status: u16, body: &str) -> Verdict {
        let answer = Answer { status, retry_after: None, location: None, body };
        verdict(&answer, SystemTime::UNIX_EPOCH)
    }

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Delivered => "delivered",
            Verdict::Partial { .. } => "partial",
            Verdict::TooLarge { .. } => "too large",
            Verdict::NoDatabase { .. } => "no database",
            Verdict::Wait { .. } => "wait",
            Verdict::Doubtful { .. } => "doubtful",
            Verdict::Malformed { .. } => "malformed",
        }
    }

    const CONFLICT: &str = "{\"error\":\"partial write: field type conflict: input field \
                            \\\"bin\\\" on measurement \\\"haproxy\\\" is type integer, already \
                            exists as type float dropped=3\"}";
    const PAGE: &str = "\n<html><body>partial write, unable to parse</body></html>";

    /// The texts are those of InfluxDB 1.6.7, 1.8, 2.0, 2.7, 3.10, VictoriaMetrics 1.151 and nginx.
    #[test]
    fn each_answer_has_its_meaning() {
        for (status, body, expected) in [
            (204, "", "delivered"),
            (200, "", "delivered"),
            (200, PAGE, "wait"),
            (200, r#"{"results":[{}]}"#, "wait"),
            (400, CONFLICT, "partial"),
            (
                422,
                r#"{"code":"unprocessable entity","message":"partial write dropped=1"}"#,
                "partial",
            ),
            (500, r#"{"code":"internal error","message":"field type conflict: x"}"#, "partial"),
            (
                400,
                r#"{"error":"partial write: points beyond retention policy dropped=1"}"#,
                "partial",
            ),
            (500, r#"{"error":"hinted handoff queue not empty"}"#, "delivered"),
            (301, "", "wait"),
            (307, "", "wait"),
            (401, r#"{"error":"authorization failed"}"#, "wait"),
            (403, r#"{"error":"\"x\" user is not authorized to write"}"#, "wait"),
            (404, r#"{"error":"database not found: \"x\""}"#, "no database"),
            (404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#, "wait"),
            (404, PAGE, "wait"),
            (413, r#"{"error":"Request Entity Too Large"}"#, "too large"),
            (413, PAGE, "too large"),
            (429, "", "wait"),
            (500, r#"{"error":"timeout"}"#, "wait"),
            (500, r#"{"error":"engine: cache-max-memory-size exceeded: (1/1)"}"#, "wait"),
            (500, r#"{"error":"hinted handoff disabled"}"#, "doubtful"),
            (500, r#"{"error":"internal error"}"#, "doubtful"),
            (500, PAGE, "wait"),
            (502, PAGE, "wait"),
            (503, "busy", "wait"),
            (504, "", "wait"),
            (400, r#"{"error":"unable to parse 'x': missing fields"}"#, "malformed"),
            (400, r#"{"code":"invalid","message":"bad timestamp"}"#, "malformed"),
            (400, "cannot parse fields for \"x\"", "malformed"),
            (400, r#"{"error":"database is required"}"#, "doubtful"),
            (400, PAGE, "wait"),
            (405, "", "doubtful"),
        ] {
            assert_eq!(word(&decide(status, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn refused_points_are_counted_and_the_first_reason_is_kept() {
        let Verdict::Partial { refused, reason } = decide(400, CONFLICT) else { panic!() };
        assert_eq!(refused, 3);
        assert!(
            reason.starts_with("answered 400: partial write: field type conflict: input field")
        );
        let unparsed = "{\"error\":\"partial write: unable to parse 'a': missing fields\\n\
                        unable to parse 'b': missing fields dropped=0\"}";
        let Verdict::Partial { refused, .. } = decide(400, unparsed) else { panic!() };
        assert_eq!(refused, 2);
        let listed = r#"{"error":"partial write of line protocol occurred","data":[
            {"line_number":1,"error_message":"invalid column type"},
            {"line_number":4,"error_message":"x"}]}"#;
        let Verdict::Partial { refused, reason } = decide(400, listed) else { panic!() };
        assert_eq!(refused, 2);
        assert!(reason.ends_with("partial write of line protocol occurred: invalid column type"));
        let Verdict::Partial { refused, .. } = decide(400, "partial write") else { panic!() };
        assert_eq!(refused, 1);
    }

    #[test]
    fn a_server_can_ask_for_a_pause() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (retry_after, expected) in [
            (None, None),
            (Some("7"), Some(7)),
            (Some("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10)),
            (Some("Sun, 06 Nov 1994 08:49:30 GMT"), Some(0)),
            (Some("soon"), Some(10)),
        ] {
            let answer = Answer { status: 503, retry_after, location: None, body: "" };
            let Verdict::Wait { pause, .. } = verdict(&answer, now) else { panic!() };
            assert_eq!(pause, expected.map(Duration::from_secs), "{retry_after:?}");
        }
    }

    #[test]
    fn texts_are_one_line_of_some_length() {
        let Verdict::Doubtful { reason } = decide(500, &format!("a\r\nb\t{}", "é".repeat(5000)))
        else {
            panic!()
        };
        assert!(reason.starts_with("answered 500: a b éé") && reason.contains("é…; "), "{reason}");
        assert!(reason.chars().count() < TEXT_MAX_CHARS + 100);
        let location = Some("https://other/");
        let answer = Answer { status: 302, retry_after: None, location, body: "" };
        let Verdict::Wait { reason, .. } = verdict(&answer, SystemTime::UNIX_EPOCH) else {
            panic!()
        };
        assert!(reason.contains("\"https://other/\""), "{reason}");
    }
}
