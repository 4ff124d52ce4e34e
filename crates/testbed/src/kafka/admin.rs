//! The two requests of Kafka's protocol that make and remove topics, in their last versions without
//! tagged fields.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);
/// Within this time the broker carries out a request.
const LIMIT: Duration = Duration::from_secs(60);
/// More than any answer to one topic.
const ANSWER_MAX_BYTES: usize = 64 << 10;

pub(super) fn create_topic(
    address: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> io::Result<()> {
    let mut body = Vec::new();
    put_count(&mut body, 1);
    put_text(&mut body, topic);
    body.extend(partitions.to_be_bytes());
    // Replicas, then an empty list of their brokers.
    body.extend(1_i16.to_be_bytes());
    put_count(&mut body, 0);
    put_count(&mut body, settings.len());
    for (name, value) in settings {
        put_text(&mut body, name);
        put_text(&mut body, value);
    }
    put_limit(&mut body);
    // Not only to be validated.
    body.push(0);
    request(address, CREATE_TOPICS, &body, topic)
}

pub(super) fn delete_topic(address: &str, topic: &str) -> io::Result<()> {
    let mut body = Vec::new();
    put_count(&mut body, 1);
    put_text(&mut body, topic);
    put_limit(&mut body);
    request(address, DELETE_TOPICS, &body, topic)
}

/// Sends a request about one topic and reads the error code of the answer.
fn request(address: &str, (key, version): (i16, i16), body: &[u8], topic: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(2 * LIMIT))?;
    let mut message = Vec::new();
    message.extend(key.to_be_bytes());
    message.extend(version.to_be_bytes());
    // The number of the request, and no name of the client.
    message.extend(1_i32.to_be_bytes());
    message.extend((-1_i16).to_be_bytes());
    message.extend(body);
    let size = u32::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&size.to_be_bytes())?;
    stream.write_all(&message)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut answer = vec![0; (u32::from_be_bytes(size) as usize).min(ANSWER_MAX_BYTES)];
    stream.read_exact(&mut answer)?;
    // The number of the request, the throttle time, one topic, its name.
    let code_at = 4 + 4 + 4 + 2 + topic.len();
    match answer.get(code_at..code_at + 2) {
        Some([0, 0]) => Ok(()),
        code => Err(io::Error::other(format!("topic {topic}: the broker answers {code:?}"))),
    }
}

fn put_count(body: &mut Vec<u8>, count: usize) {
    body.extend(i32::try_from(count).unwrap_or_default().to_be_bytes());
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(i16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    body.extend(text.as_bytes());
}

fn put_limit(body: &mut Vec<u8>) {
    body.extend(i32::try_from(LIMIT.as_millis()).unwrap_or_default().to_be_bytes());
}
