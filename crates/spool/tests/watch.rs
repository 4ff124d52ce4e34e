//! The watch on real directories: which names it announces, when, and that it misses no snapshot,
//! whatever happens to the spool.
//!
//! Time stands still unless a test moves it. To show that a name is *not* announced, a test moves
//! in another snapshot afterwards and sees its name first.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use haproxystats_spool::watch::Watch;
use tempfile::TempDir;

/// No wait takes so long unless the test fails.
const DEADLINE: Duration = Duration::from_secs(60);
/// The time after which a directory that is made in the spool is announced, as the documentation of
/// the watch says.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn still() -> Instant {
    *BEGIN + PASSED.get()
}

/// A clock that is a second later at each reading.
fn hurried() -> Instant {
    pass(Duration::from_secs(1));
    still()
}

fn pass(time: Duration) {
    PASSED.set(PASSED.get() + time);
}

struct Spool {
    directory: PathBuf,
    watch: Watch,
    /// Dropped to call off the alarm, which ends a watch that announces no name.
    _alarm: Sender<()>,
    home: TempDir,
}

impl Spool {
    fn start(monotonic: fn() -> Instant) -> Self {
        Self::start_with(monotonic, |_| {})
    }

    fn start_with(monotonic: fn() -> Instant, prepare: fn(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("incoming");
        fs::create_dir(&directory).unwrap();
        prepare(&directory);
        Self::watching(Watch::start(&directory, monotonic).unwrap(), directory, home)
    }

    fn watching(watch: Watch, directory: PathBuf, home: TempDir) -> Self {
        let stopper = watch.stopper();
        let (alarm, called_off) = channel::<()>();
        thread::spawn(move || {
            if called_off.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                stopper.stop();
            }
        });
        Self { directory, watch, _alarm: alarm, home }
    }

    fn at(&self, name: impl ToString) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn make(&self, name: impl ToString) {
        fs::create_dir(self.at(name)).unwrap();
    }

    fn move_in(&self, name: impl ToString) {
        let aside = self.home.path().join("aside");
        fs::create_dir(&aside).unwrap();
        fs::rename(&aside, self.at(name)).unwrap();
    }

    fn next(&mut self) -> String {
        self.watch.next().unwrap()
    }

    /// The first name that is announced while others are moved in, from 1000 on: the test cannot
    /// see when the watch is attached again.
    fn next_while_others_come(&mut self) -> String {
        let announced = AtomicBool::new(false);
        let (aside, directory) = (self.home.path().join("each"), self.directory.clone());
        thread::scope(|scope| {
            scope.spawn(|| {
                for name in 1000.. {
                    if announced.load(Ordering::Acquire) {
                        break;
                    }
                    fs::create_dir(&aside).unwrap();
                    fs::rename(&aside, directory.join(name.to_string())).unwrap();
                }
            });
            let first = self.watch.next();
            announced.store(true, Ordering::Release);
            first.unwrap()
        })
    }

    /// Waits for a name. To announce one twice is allowed, to miss one is not.
    fn await_announced(&mut self, name: impl ToString) {
        let name = name.to_string();
        while self.next() != name {}
    }

    /// Makes more events than the kernel's queue holds, while no thread takes them.
    fn overflow(&self) {
        let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // The channel of the watch takes some more.
        self.stir(queue.trim().parse::<usize>().unwrap() + 8000);
    }

    /// Makes that many events that have no meaning.
    fn stir(&self, events: usize) {
        let [this, that] = [self.at(".this"), self.at(".that")];
        fs::create_dir(&this).unwrap();
        // A rename there and back is two events each way.
        for _ in 0..events.div_ceil(4) {
            fs::rename(&this, &that).unwrap();
            fs::rename(&that, &this).unwrap();
        }
    }
}

#[test]
fn snapshots_at_the_start_come_oldest_first() {
    let mut spool = Spool::start_with(still, |directory| {
        for name in ["100", "9", "10", "notes", ".11", "12.removed"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        fs::write(directory.join("8"), "a file").unwrap();
    });
    spool.move_in(7);
    assert_eq!([(); 4].map(|()| spool.next()), ["9", "10", "100", "7"]);
}

#[test]
fn a_missing_spool_is_made_and_an_error_names_it() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("var/incoming");
    let watch = Watch::start(&directory, still).unwrap();
    let mut spool = Spool::watching(watch, directory, home);
    spool.move_in(17);
    assert_eq!(spool.next(), "17");

    let file = spool.at("file");
    fs::write(&file, "").unwrap();
    for place in [file.join("incoming"), file] {
        let error = Watch::start(&place, still).unwrap_err().to_string();
        assert!(error.contains(place.to_str().unwrap()), "{error}");
    }
}

#[test]
fn any_number_of_directories_that_are_moved_in_come_at_once_and_in_order() {
    let mut spool = Spool::start(still);
    for name in 0..2000 {
        spool.move_in(name);
    }
    for name in 0..2000 {
        assert_eq!(spool.next(), name.to_string());
    }
}

#[test]
fn other_entries_never_come() {
    let mut spool = Spool::start(still);
    for name in ["notes", ".17", "1.7", "-1", "99999999999999999999"] {
        spool.move_in(name);
        spool.make(format!("{name}.made"));
    }
    fs::write(spool.at(1), "a file").unwrap();
    fs::write(spool.home.path().join("file"), "a file").unwrap();
    fs::rename(spool.home.path().join("file"), spool.at(2)).unwrap();
    spool.move_in(3);
    fs::remove_dir(spool.at(3)).unwrap();
    pass(SETTLED_AFTER);
    spool.move_in(4);
    assert_eq!(spool.next(), "4");
}

#[test]
fn a_directory_that_is_made_comes_once_it_has_settled() {
    let mut spool = Spool::start(still);
    spool.make(17);
    spool.make(9);
    spool.move_in(1000);
    assert_eq!(spool.next(), "1000");
    pass(SETTLED_AFTER - Duration::from_millis(1));
    spool.move_in(1001);
    assert_eq!(spool.next(), "1001");
    pass(Duration::from_millis(1));
    assert_eq!([spool.next(), spool.next()], ["9", "17"]);
}

#[test]
fn each_change_in_a_directory_that_is_made_lets_it_wait_anew() {
    let mut spool = Spool::start(still);
    let file = spool.at("17/s_info");
    let changes: [&dyn Fn(); 3] =
        [&|| fs::write(&file, "a").unwrap(), &|| fs::write(&file, "ab").unwrap(), &|| {
            fs::remove_file(&file).unwrap()
        }];
    spool.make(17);
    spool.move_in(1000);
    assert_eq!(spool.next(), "1000");
    for (change, number) in changes.iter().zip(1001..) {
        change();
        pass(SETTLED_AFTER);
        spool.move_in(number);
        assert_eq!(spool.next(), number.to_string());
    }
    pass(SETTLED_AFTER);
    assert_eq!(spool.next(), "17");
}

#[test]
fn a_directory_that_is_made_and_renamed_comes_under_its_last_name_alone() {
    let mut spool = Spool::start(still);
    for (made, renamed) in [(".17", "17"), ("18", "19"), ("20", ".20")] {
        spool.make(made);
        fs::rename(spool.at(made), spool.at(renamed)).unwrap();
    }
    spool.make(21);
    fs::remove_dir(spool.at(21)).unwrap();
    assert_eq!([spool.next(), spool.next()], ["17", "19"]);
    spool.move_in(1000);
    assert_eq!(spool.next(), "1000");
    pass(SETTLED_AFTER);
    spool.move_in(1001);
    assert_eq!(spool.next(), "1001");
}

#[test]
fn a_snapshot_that_replaces_an_unsettled_directory_comes_once() {
    let mut spool = Spool::start(still);
    spool.make(17);
    fs::remove_dir(spool.at(17)).unwrap();
    spool.move_in(17);
    assert_eq!(spool.next(), "17");
    pass(SETTLED_AFTER);
    spool.move_in(1000);
    assert_eq!(spool.next(), "1000");
}

#[test]
fn a_spool_removed_and_made_again_is_watched_again() {
    let mut spool = Spool::start(hurried);
    for name in 0..3 {
        fs::remove_dir_all(&spool.directory).unwrap();
        fs::create_dir(&spool.directory).unwrap();
        spool.move_in(name);
        spool.await_announced(name);
        spool.move_in(1000 + name);
        spool.await_announced(1000 + name);
    }
}

#[test]
fn a_spool_removed_while_a_process_has_it_open_is_watched_again() {
    let mut spool = Spool::start(hurried);
    let open = File::open(&spool.directory).unwrap();
    fs::remove_dir_all(&spool.directory).unwrap();
    fs::create_dir(&spool.directory).unwrap();
    spool.move_in(17);
    spool.await_announced(17);
    drop(open);
}

#[test]
fn a_spool_renamed_away_is_left_for_the_one_that_takes_its_place() {
    let mut spool = Spool::start(hurried);
    for name in 0..20 {
        let away = spool.home.path().join(format!("away.{name}"));
        fs::rename(&spool.directory, &away).unwrap();
        fs::create_dir(&spool.directory).unwrap();
        fs::create_dir(away.join("666")).unwrap();
        spool.move_in(name);
        loop {
            let announced = spool.next();
            assert_ne!(announced, "666");
            if announced == name.to_string() {
                break;
            }
        }
    }
}

#[test]
fn an_event_of_an_earlier_spool_announces_no_namesake() {
    let mut spool = Spool::start(still);
    let away = spool.home.path().join("away");
    fs::rename(&spool.directory, &away).unwrap();
    fs::create_dir(&spool.directory).unwrap();
    spool.make(17);
    fs::create_dir(spool.home.path().join("aside")).unwrap();
    fs::rename(spool.home.path().join("aside"), away.join("17")).unwrap();
    assert_ne!(spool.next_while_others_come(), "17");
    pass(SETTLED_AFTER);
    spool.await_announced(17);
}

#[test]
fn a_spool_that_comes_back_whole_is_listed() {
    let mut spool = Spool::start(hurried);
    let away = spool.home.path().join("away");
    fs::rename(&spool.directory, &away).unwrap();
    fs::create_dir(away.join("17")).unwrap();
    fs::rename(&away, &spool.directory).unwrap();
    spool.await_announced(17);
    spool.move_in(18);
    spool.await_announced(18);
}

#[test]
fn a_spool_with_a_relative_path_is_watched_again_too() {
    let home = tempfile::tempdir().unwrap();
    let mut directory: PathBuf =
        std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    directory.push(home.path().strip_prefix("/").unwrap());
    directory.push("incoming");
    let watch = Watch::start(&directory, hurried).unwrap();
    let mut spool = Spool::watching(watch, directory, home);
    for name in 0..3 {
        fs::remove_dir_all(&spool.directory).unwrap();
        fs::create_dir(&spool.directory).unwrap();
        spool.move_in(name);
        spool.await_announced(name);
    }
}

#[test]
fn snapshots_whose_events_were_lost_come_all_the_same() {
    let mut spool = Spool::start(hurried);
    spool.overflow();
    for name in 17..30 {
        spool.move_in(name);
    }
    let mut missing: Vec<String> = (17..30).map(|name: u32| name.to_string()).collect();
    while !missing.is_empty() {
        let announced = spool.next();
        missing.retain(|name| *name != announced);
    }
    spool.move_in(31);
    spool.await_announced(31);
}

#[test]
fn a_directory_whose_events_were_lost_settles_first() {
    let mut spool = Spool::start(still);
    spool.overflow();
    spool.make(17);
    assert_ne!(spool.next_while_others_come(), "17");
    pass(SETTLED_AFTER);
    spool.await_announced(17);
}

#[test]
fn stop_ends_a_watch_that_still_has_names_to_announce() {
    let mut spool = Spool::start_with(still, |directory| {
        fs::create_dir(directory.join("17")).unwrap();
        fs::create_dir(directory.join("18")).unwrap();
    });
    assert_eq!(spool.next(), "17");
    spool.overflow();
    // No thread takes the events, so the channel is full, and `stop` must not wait for a place in
    // it.
    spool.watch.stopper().stop();
    assert_eq!([spool.watch.next(), spool.watch.next()], [None, None]);
}

#[test]
fn stop_ends_a_watch_that_waits() {
    let mut spool = Spool::start(still);
    let stopper = spool.watch.stopper();
    let stopping = thread::spawn(move || stopper.stop());
    assert_eq!(spool.watch.next(), None);
    stopping.join().unwrap();
}

#[test]
fn threads_of_watches_that_are_left_end() {
    for _ in 0..60 {
        // More events than the channel holds: the thread waits for a place when its watch is
        // dropped.
        Spool::start(still).stir(3000);
    }
    let mut spool = Spool::start(hurried);
    for name in 0..60 {
        fs::rename(&spool.directory, spool.home.path().join(format!("away.{name}"))).unwrap();
        fs::create_dir(&spool.directory).unwrap();
        spool.move_in(name);
        spool.await_announced(name);
    }
    // Other tests that run at the same time have a few such threads, too.
    let begin = Instant::now();
    while watching_threads() > 50 {
        assert!(begin.elapsed() < DEADLINE, "{} threads watch", watching_threads());
        thread::yield_now();
    }
}

fn watching_threads() -> usize {
    let name_of = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let names = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| name_of(task.ok()?));
    names.filter(|name| name.starts_with("notify-rs")).count()
}
