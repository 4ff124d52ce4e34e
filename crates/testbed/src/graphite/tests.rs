//! The receiver with a small sender.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

fn receiver(manner: Manner) -> Receiver<Transcripts> {
    Receiver::start(Transcripts::default(), manner).unwrap()
}

/// Sends a batch and waits for the close; fails on a reset.
fn deliver(receiver: &Receiver<impl Archive>, bytes: &[u8]) -> io::Result<usize> {
    let mut stream = TcpStream::connect(receiver.address())?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.read(&mut [0])
}

#[test]
fn two_receivers_behave_each_in_its_own_way() {
    let (good, bad) = (receiver(Manner::Whole), receiver(Manner::Cut(3, Ending::Reset)));
    assert_eq!(deliver(&good, b"a 1 1\nb 2 2\nc").unwrap(), 0);
    deliver(&bad, b"a 1 1\n").unwrap_err();
    assert_eq!(good.finish().unwrap().lines(), ["a 1 1", "b 2 2"]);
    let bad = bad.finish().unwrap();
    assert_eq!(bad.all(), [Transcript { bytes: b"a 1".to_vec(), ended: false }]);
}

#[test]
fn a_spoiled_connection_is_the_next_one_only() {
    let receiver = receiver(Manner::Whole);
    assert!(receiver.spoil(Manner::CloseAtOnce, 1));
    assert!(!receiver.spoil(Manner::CloseAtOnce, 1), "one is enough");
    let _ = deliver(&receiver, b"a 1 1\n");
    receiver.await_close(0).unwrap();
    assert_eq!(deliver(&receiver, b"b 2 2\n").unwrap(), 0);
    assert_eq!(receiver.finish().unwrap().lines(), ["b 2 2"]);
}

#[test]
fn a_cut_climbs_byte_by_byte() {
    let receiver = receiver(Manner::Climb(Ending::Close));
    for _ in 0..4 {
        let _ = deliver(&receiver, b"a\n");
    }
    assert_eq!(receiver.finish().unwrap().sizes(), [0, 1, 2, 2]);
}

#[test]
fn a_receiver_that_is_down_refuses_and_comes_up_on_its_port_with_its_archive() {
    let mut receiver = receiver(Manner::NeverClose);
    let mut open = TcpStream::connect(receiver.address()).unwrap();
    open.write_all(b"a 1 1\n").unwrap();
    assert!(wait_until(LIMIT, || receiver.archive().lines().len() == 1));
    receiver.go_down();
    let error = open.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let error = TcpStream::connect(receiver.address()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    receiver.go_down();
    receiver.behave(Manner::Whole);
    receiver.come_up().unwrap();
    assert_eq!(deliver(&receiver, b"b 2 2\n").unwrap(), 0);
    assert_eq!(receiver.finish().unwrap().lines(), ["a 1 1", "b 2 2"]);
}

#[test]
fn a_slow_receiver_reads_all_in_the_end() {
    let receiver = receiver(Manner::Trickle(Duration::from_secs(600)));
    let mut stream = TcpStream::connect(receiver.address()).unwrap();
    stream.write_all(b"a 1 1\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(wait_until(LIMIT, || receiver.archive().sizes() == [1]));
    // Finishing ends the pauses.
    assert_eq!(receiver.finish().unwrap().lines(), ["a 1 1"]);
}

#[test]
fn scripts_are_played_in_their_order_and_then_connections_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scripts: [&[Step]; 2] = [&[Step::ReadToEnd, Step::Reply(2)], &[Step::KeepOpen]];
    let receiver = Receiver::play(listener, Transcripts::default(), scripts).unwrap();
    assert_eq!(deliver(&receiver, b"a").unwrap(), 1);
    let mut second = TcpStream::connect(receiver.address()).unwrap();
    assert!(wait_until(LIMIT, || receiver.connections() == 2));
    assert!(wait_until(LIMIT, || TcpStream::connect(receiver.address()).is_err()));
    let archive = receiver.finish().unwrap();
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
    assert_eq!(archive.sizes(), [1, 0]);
}

#[test]
fn a_file_of_lines_has_whole_lines_only_and_a_line_has_a_bound() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = LineFile::create(file.path()).unwrap();
    let receiver = Receiver::start(lines, Manner::Whole).unwrap();
    deliver(&receiver, b"a 1 1\nb 2").unwrap();
    deliver(&receiver, b"c 3 3\n").unwrap();
    let _ = deliver(&receiver, &vec![b'x'; 1 << 20]);
    let lines = receiver.finish().unwrap();
    lines.flush().unwrap();
    assert_eq!(lines.lines(), 2);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "a 1 1\nc 3 3\n");
}
