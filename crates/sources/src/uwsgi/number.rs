//! Numbers of a document.

use serde_json::Value;

/// A whole number of an object; `None` if it is absent or something else.
pub(super) fn number(object: &Value, key: &str) -> Option<i64> {
    object.get(key)?.as_i64()
}

/// A count of an object; 0 if it is absent or something else.
pub(super) fn count(object: &Value, key: &str) -> u64 {
    object.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// A text of an object; empty if it is absent or something else.
pub(super) fn text<'v>(object: &'v Value, key: &str) -> &'v str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The objects of a list; none if it is absent or something else.
pub(super) fn list<'v>(object: &'v Value, key: &str) -> &'v [Value] {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
