//! Any split of a document gives the same, and no byte of a secret is kept.

use proptest::prelude::{
    BoxedStrategy, Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::*;

fn kept(pieces: &[&[u8]]) -> Result<(Vec<u8>, Scanner), Error> {
    let mut scanner = Scanner::new();
    let mut kept = Vec::new();
    for piece in pieces {
        scanner.scan(piece, &mut kept)?;
    }
    Ok((kept, scanner))
}

fn text_of(document: &[u8]) -> String {
    String::from_utf8(kept(&[document]).unwrap().0).unwrap()
}

#[test]
fn the_values_of_secrets_become_null_whatever_they_are() {
    for value in ["[]", "{ }", "[\"a]\\\"b\", {\"vars\":1}]", "\"x\"", "7", "null", "[[[]]]"] {
        for (before, after) in [("", ""), ("\"a\":1,", ""), ("", ",\"b\":[2]")] {
            let document = format!("{{{before}\"vars\":\t{value}{after}}}");
            let expected = format!("{{{before}\"vars\":null{after}}}");
            assert_eq!(text_of(document.as_bytes()), expected);
        }
    }
    let core = "{\"cores\":[{\"id\":0,\"vars\":[\"HTTP_COOKIE=a\"],\"req_info\":{\"x\":\"y\"}}]}";
    let expected = "{\"cores\":[{\"id\":0,\"vars\":null,\"req_info\":null}]}";
    assert_eq!(text_of(core.as_bytes()), expected);
    // A key with an escape may be any name.
    assert_eq!(text_of(b"{\"v\\u0061rs\":[1],\"a\":2}"), "{\"v\\u0061rs\":null,\"a\":2}");
    // A value of this name, and a longer key, are kept.
    assert_eq!(text_of(b"{\"a\":\"vars\",\"vars2\":[1]}"), "{\"a\":\"vars\",\"vars2\":[1]}");
}

#[test]
fn a_visitors_bytes_do_not_matter() {
    let document = b"{\"vars\":[\"URI=/\xff\x00\x01}]\\\"\"],\"cwd\":\"/\xe4\x07\"}";
    assert_eq!(kept(&[document]).unwrap().0, b"{\"vars\":null,\"cwd\":\"/\xe4\x07\"}");
}

#[test]
fn a_document_that_is_none_is_refused() {
    for document in [
        "[]",
        "\"a\"",
        "1",
        "x",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 2}",
        "{a:1}",
        "{\"a\":[1}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{,}",
        "{\"a\":[,1]}",
        "{\"a\":hello}",
        // A quotation mark or a backslash of a folder's name turns strings and the rest around.
        "{\"cwd\":\"/a\"b\",\"locks\":[]}",
        "{\"cwd\":\"/a\\\",\"locks\":[],\"vars\":[\"k\"]}",
        "{\"cwd\":\"/a\",\"b\",\"vars\":[\"k\"]}",
    ] {
        assert!(matches!(kept(&[document.as_bytes()]), Err(Error::Grammar(_))), "{document}");
    }
    let deep = "{\"a\":".to_owned() + &"[".repeat(DEPTH_MAX);
    assert_eq!(kept(&[deep.as_bytes()]).unwrap_err(), Error::Depth);
    let deep = "{\"vars\":".to_owned() + &"[".repeat(DEPTH_MAX);
    assert_eq!(kept(&[deep.as_bytes()]).unwrap_err(), Error::Depth, "within a secret");
}

#[test]
fn the_requests_of_the_workers_are_those_of_no_app_or_core() {
    let document = br#"{"pid":7,"requests":9,"other":[{"requests":8}],"workers":[
        {"id":1,"pid":3,"requests":12,"apps":[{"requests":1}],"cores":[{"requests":2}]},
        {"id":0}, {"requests":18446744073709551616}, {"requests":4,"vars":{"requests":1}}]}"#;
    let (_, scanner) = kept(&[document]).unwrap();
    assert!(scanner.is_whole() && scanner.has_workers());
    assert_eq!(scanner.requests().master, Some(7));
    assert_eq!(scanner.requests().workers, [12, 0, 0, 4]);
}

/// A document whose secrets hold the letter `S` alone among letters that it has nowhere else.
fn value(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let text = prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| {
        let mut text = vec![b'"'];
        for byte in bytes {
            match byte {
                b'"' | b'\\' => text.extend([b'\\', byte]),
                b'S' => text.push(b's'),
                _ => text.push(byte),
            }
        }
        text.push(b'"');
        text
    });
    let number = any::<i32>().prop_map(|number| number.to_string().into_bytes());
    let leaf = prop_oneof![text, number, Just(b"null".to_vec()), Just(b" true".to_vec())];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4)
            .prop_map(|items| [b"[".as_slice(), &items.join(&b", "[..]), b"]"].concat());
        let key = prop_oneof![Just("id"), Just("workers"), Just("requests"), Just("pid")];
        let pair = (key, inner)
            .prop_map(|(key, value)| [b"\"".as_slice(), key.as_bytes(), b"\":", &value].concat());
        let secret =
            (0..3_usize, prop::bool::ANY, prop::bool::ANY).prop_map(|(deep, list, info)| {
                let (open, close) = if list { ("[", "]") } else { ("{\"S\":", "}") };
                let (open, close) = (open.repeat(deep), close.repeat(deep));
                let key = if info { "req_info" } else { "vars" };
                format!("\"{key}\" : {open}\"S\\\"S]}}\u{1}\"{close}").into_bytes()
            });
        let pairs = prop::collection::vec(prop_oneof![3 => pair, 1 => secret], 0..4);
        let object =
            pairs.prop_map(|pairs| [b"{".as_slice(), &pairs.join(&b",\n"[..]), b"}"].concat());
        prop_oneof![list, object]
    })
    .boxed()
}

proptest! {
    /// Any split of the bytes gives the same document, which holds no secret.
    #[test]
    fn splits_do_not_matter_and_secrets_are_cut(
        value in value(4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let document = [b"{\"workers\":".as_slice(), &value, b",\"vars\":[\"S\"]}"].concat();
        let (whole, scanner) = kept(&[&document]).unwrap();
        prop_assert!(scanner.is_whole());
        prop_assert!(!whole.contains(&b'S'));
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(document.len())).collect();
        ends.push(document.len());
        ends.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for end in ends {
            pieces.push(&document[from..end]);
            from = end;
        }
        let (split, in_pieces) = kept(&pieces).unwrap();
        prop_assert_eq!(&split, &whole);
        prop_assert_eq!(in_pieces.requests(), scanner.requests());
        // What is kept is whole by itself, and is kept again as it is.
        prop_assert_eq!(&kept(&[&whole]).unwrap().0, &whole);
    }

    /// No bytes at all make the scanner panic, or keep more than they were.
    #[test]
    fn any_bytes_are_scanned(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = kept(&[&bytes]);
        let _ = kept(&[b"{\"a\":[{\"vars\":", &bytes]);
    }
}
