//! The program ends at any moment and leaves nothing; and the errors that prevent a start.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use config::{Address, Pull, Retries};
use tokio::net::{TcpSocket, TcpStream};

use crate::fake::{Fake, INFO, Script, good};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench, machine, names};

const FAR: Duration = Duration::from_secs(3600);

#[test]
fn it_ends_while_it_waits_for_the_next_cycle() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(Pull { pull_interval: FAR, ..bench.config() });
        bench.until_logged("published snapshot=").await;
        bench.stop(program).await;
        assert_eq!((bench.snapshots().len(), fake.asked()), (1, 1));
        assert!(bench.log().contains("ended reason=\"the test\""), "{}", bench.log());
    });
}

#[test]
fn it_ends_while_it_waits_for_an_answer() {
    on_one_thread(async {
        for sent in [vec![], good()[..INFO.len() + 30].to_vec()] {
            let bench = Workbench::new();
            let silent = sent.is_empty();
            let fake = Fake::unix(&bench.socket("a"), Script::Stall(sent));
            let program = bench.start(bench.config());
            let staged = bench.tmp().join(SECOND.to_string());
            let asked = || fake.asked() == 1 && (silent || names(&staged).len() == 3);
            bench.until(asked, "the stalled answer").await;
            bench.stop(program).await;
            assert_eq!(bench.snapshots(), [""; 0]);
        }
    });
}

#[test]
fn it_ends_while_an_answer_pours_in() {
    on_one_thread(async {
        let bench = Workbench::new();
        let endless = Script::Endless("Name: HAProxy\n\n# pxname,svname,\n", "web,FRONTEND,\n");
        let _fake = Fake::unix(&bench.socket("a"), endless);
        let program = bench.start(Pull { answer_limit: u64::MAX, ..bench.config() });
        let stat = bench.tmp().join(SECOND.to_string()).join("a_stat");
        let pouring = || fs::metadata(&stat).is_ok_and(|file| file.len() > 1 << 20);
        bench.until(pouring, "a megabyte").await;
        bench.stop(program).await;
    });
}

#[test]
fn it_ends_while_it_tries_to_connect() {
    on_one_thread(async {
        let bench = Workbench::new();
        let mut config = bench.config_for(Address::Unix(bench.socket("gone")));
        config.retries = Retries::Forever;
        config.interval = FAR;
        let program = bench.start(config);
        bench.until(|| names(&bench.tmp()).len() == 1, "the first cycle").await;
        bench.stop(program).await;
    });
}

#[test]
fn it_ends_while_a_connection_is_not_answered() {
    on_one_thread(async {
        let bench = Workbench::new();
        // No program accepts, so the system no longer answers once the backlog is full.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        let full = Duration::from_millis(100);
        while let Ok(stream) = tokio::time::timeout(full, TcpStream::connect(address)).await {
            filling.push(stream.unwrap());
        }
        let server = Address::Tcp { host: "127.0.0.1".into(), port: address.port() };
        let program = bench.start(bench.config_for(server));
        bench.until(|| names(&bench.tmp()).len() == 1, "the first cycle").await;
        bench.stop(program).await;
    });
}

#[test]
fn it_ends_while_it_is_paused() {
    on_one_thread(async {
        let bench = Workbench::new();
        let program = bench.start(Pull { queue_size: 0, ..bench.config() });
        bench.until_logged("paused").await;
        bench.stop(program).await;
    });
}

#[test]
fn leftovers_of_a_killed_run_are_removed_at_the_start() {
    on_one_thread(async {
        let bench = Workbench::new();
        let leftover = bench.tmp().join("1600000000");
        fs::create_dir_all(&leftover).unwrap();
        fs::write(leftover.join(spool::manifest::FILE_NAME), "").unwrap();
        fs::write(leftover.join("a_info"), "Name: HAPr").unwrap();
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        assert!(bench.log().contains("removed what an earlier run had not finished"));
        assert_eq!(bench.snapshots()[0], SECOND.to_string());
    });
}

async fn refused(bench: &Workbench, config: Pull) -> String {
    let error = haproxystats_puller::run(
        config,
        machine(),
        daemon::Service::none(),
        std::future::pending(),
    )
    .await
    .unwrap_err();
    assert_eq!(bench.snapshots(), [""; 0]);
    error.to_string()
}

#[test]
fn a_second_pull_on_the_same_directories_is_refused_and_does_not_disturb_the_first() {
    on_one_thread(async {
        let bench = Workbench::new();
        let stalled = Fake::unix(&bench.socket("a"), Script::Stall(INFO.into()));
        let program = bench.start(bench.config());
        let staged = bench.tmp().join(SECOND.to_string());
        bench.until(|| stalled.asked() == 1, "a cycle").await;
        let error = refused(&bench, bench.config()).await;
        let first = format!("another haproxystats-pull (pid {}) writes to ", std::process::id());
        assert!(error.starts_with(&first), "{error}");
        assert!(error.contains(bench.tmp().to_str().unwrap()), "{error}");
        // The directory that the first one stages was not removed.
        assert!(staged.exists());
        bench.stop(program).await;

        stalled.set(Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(1).await;
        bench.stop(program).await;
    });
}

#[test]
fn nothing_to_ask_names_both_options() {
    on_one_thread(async {
        let bench = Workbench::new();
        let error = refused(&bench, Pull { socket_dir: None, ..bench.config() }).await;
        let expected = "nothing to ask: set socket-dir, servers or masters in section [pull], \
                        servers in [uwsgi], or servers or deployments in [zope]";
        assert_eq!(error, expected);
    });
}

#[test]
fn another_file_system_is_refused_at_the_start() {
    on_one_thread(async {
        let bench = Workbench::new();
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
            return eprintln!("SKIPPED: /dev/shm cannot be written");
        };
        let device = |dir| fs::metadata(dir).map(|it: fs::Metadata| it.dev()).unwrap();
        if device(memory.path()) == device(&bench.sockets()) {
            return eprintln!("SKIPPED: /dev/shm and the temporary directory are one file system");
        }
        let tmp_dst_dir = memory.path().join("tmp");
        let error = refused(&bench, Pull { tmp_dst_dir, ..bench.config() }).await;
        assert!(error.contains("are on different file systems"), "{error}");
    });
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    on_one_thread(async {
        let bench = Workbench::new();
        fs::write(bench.dst(), "a file").unwrap();
        let dst_dir = bench.dst().join("incoming");
        let error = refused(&bench, Pull { dst_dir: dst_dir.clone(), ..bench.config() }).await;
        assert!(error.contains(dst_dir.to_str().unwrap()), "{error}");
    });
}
