//! The rights of docs/security.md are enough: a real HAProxy with a socket of `level user` gives a
//! whole snapshot, and refuses commands that change its state.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::scene::Scene;
use crate::support::{Program, free_ports, installed, wait_until};

const PAGE: &str = "docs/security.md";

/// The answer of a stats socket to one command; `None` while no process listens.
fn ask(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The commands in backticks in the page's rows with this answer.
fn commands(page: &str, answer: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.ends_with(answer));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let commands = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned));
    commands.collect()
}

#[test]
fn level_user_is_enough_and_refuses_what_changes_something() {
    let test = "rights::level_user_is_enough_and_refuses_what_changes_something";
    let Some([haproxy]) = installed(test, ["haproxy"]) else { return };
    let scene = Scene::new();
    let folder = scene.path().display();
    let [port] = free_ports();
    let sockets = scene.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    let config = scene.write(
        "haproxy.cfg",
        &format!(
            "global\n stats socket {folder}/sockets/user.sock mode 660 level user\n\
             \x20stats socket {folder}/admin.sock mode 600 level admin\n\
             defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
             frontend www\n bind 127.0.0.1:{port}\n default_backend app\n\
             backend app\n server app1 127.0.0.1:9\n"
        ),
    );
    let words = ["-db".as_ref(), "-f".as_ref(), config.as_os_str()];
    let _haproxy = Program::start(&haproxy, &words, &[], scene.path(), "haproxy");
    let (user, admin) = (sockets.join("user.sock"), scene.path().join("admin.sock"));
    wait_until("both sockets", || {
        [&user, &admin].into_iter().all(|socket| ask(socket, "show info").is_some())
    });

    let text = format!(
        "[pull]\nsocket-dir = {folder}/sockets\npull-interval = 1\n\
         dst-dir = {folder}/incoming\ntmp-dst-dir = {folder}/incoming.tmp\n"
    );
    let pull = scene.pull(&scene.write("haproxystats.conf", &text));
    wait_until("a snapshot", || !scene.waiting().is_empty());
    pull.finish();
    let snapshot = scene.incoming().join(scene.waiting().first().unwrap());
    let stat = fs::read_to_string(snapshot.join("user.sock_stat")).unwrap();
    assert!(stat.contains("\napp,app1,"), "{stat}");

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(page).unwrap();
    let refused = commands(&page, "| `Permission denied` |");
    assert!(refused.len() > 8, "{refused:?}");
    for command in refused {
        // Commands that need an object get one, because HAProxy would complain about that first.
        let command = match command.as_str() {
            "disable server" => "disable server app/app1".to_owned(),
            "set server" => "set server app/app1 weight 1".to_owned(),
            "shutdown sessions" => "shutdown sessions server app/app1".to_owned(),
            "set maxconn global" => "set maxconn global 100".to_owned(),
            _ => command,
        };
        let answer = ask(&user, &command).unwrap();
        assert!(answer.contains("Permission denied"), "{command}: {answer}");
        // A higher level accepts the command, so the level was the reason.
        let answer = ask(&admin, &command).unwrap();
        assert!(!answer.contains("Permission denied"), "{command}: {answer}");
    }
    let answered = commands(&page, "they only read, too |");
    assert_eq!(answered.len(), 3, "{answered:?}");
    for command in answered.iter().map(String::as_str).chain(["show info", "show stat"]) {
        let answer = ask(&user, command).unwrap();
        assert!(answer.len() > 50 && !answer.contains("denied"), "{command}: {answer}");
    }
}
