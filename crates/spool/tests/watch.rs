//! The watch on real directories: what it tells, when, and that nothing which happens to the spool makes it miss a snapshot.
//!
//! Time stands still unless a test moves it. That something is *not* told is shown by a snapshot moved in after it, which is.

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

/// Nothing takes so long unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(60);
/// What the watch's documentation says of a directory that is made in the spool.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn still() -> Instant {
    *BEGIN + PASSED.get()
}

/// A second later at each look.
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
    /// Dropped to call off the alarm that ends a watch which tells nothing any more.
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

    /// What is told first while others are moved in one after the other, from 1000 on: for a watch of which nobody can see
    /// from here when it is attached again.
    fn next_while_others_come(&mut self) -> String {
        let told = AtomicBool::new(false);
        let (aside, directory) = (self.home.path().join("each"), self.directory.clone());
        thread::scope(|scope| {
            scope.spawn(|| {
                for name in 1000.. {
                    if told.load(Ordering::Acquire) {
                        break;
                    }
                    fs::create_dir(&aside).unwrap();
                    fs::rename(&aside, directory.join(name.to_string())).unwrap();
                }
            });
            let first = self.watch.next();
            told.store(true, Ordering::Release);
            first.unwrap()
        })
    }

    /// Twice told is no fault, never is.
    fn await_told(&mut self, name: impl ToString) {
        let name = name.to_string();
        while self.next() != name {}
    }

    /// More events than the kernel keeps, with nobody taking them.
    fn overflow(&self) {
        let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // What the watch itself holds comes on top.
        self.stir(kept.trim().parse::<usize>().unwrap() + 8000);
    }

    /// So many events that mean nothing.
    fn stir(&self, events: usize) {
        let [this, that] = [self.at(".this"), self.at(".that")];
        fs::create_dir(&this).unwrap();
        // There and back are two events each.
        for _ in 0..events.div_ceil(4) {
            fs::rename(&this, &that).unwrap();
            fs::rename(&that, &this).unwrap();
        }
    }
}

#[test]
fn what_stands_there_at_the_start_comes_oldest_first() {
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
fn a_spool_that_is_not_there_is_made_and_one_that_cannot_be_is_told_by_name() {
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
fn what_is_moved_in_comes_at_once_and_in_order_however_much_it_is() {
    let mut spool = Spool::start(still);
    for name in 0..2000 {
        spool.move_in(name);
    }
    for name in 0..2000 {
        assert_eq!(spool.next(), name.to_string());
    }
}

#[test]
fn what_is_no_snapshot_never_comes() {
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
fn what_is_made_comes_once_it_has_lain_untouched() {
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
fn each_change_in_what_is_made_lets_it_wait_anew() {
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
fn what_is_made_and_renamed_comes_under_its_last_name_alone() {
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
fn what_replaces_something_unsettled_comes_once() {
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
        spool.await_told(name);
        spool.move_in(1000 + name);
        spool.await_told(1000 + name);
    }
}

#[test]
fn a_spool_removed_while_somebody_has_it_open_is_watched_again() {
    let mut spool = Spool::start(hurried);
    let open = File::open(&spool.directory).unwrap();
    fs::remove_dir_all(&spool.directory).unwrap();
    fs::create_dir(&spool.directory).unwrap();
    spool.move_in(17);
    spool.await_told(17);
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
            let told = spool.next();
            assert_ne!(told, "666");
            if told == name.to_string() {
                break;
            }
        }
    }
}

#[test]
fn what_is_moved_into_a_spool_of_before_says_nothing_of_a_namesake() {
    let mut spool = Spool::start(still);
    let away = spool.home.path().join("away");
    fs::rename(&spool.directory, &away).unwrap();
    fs::create_dir(&spool.directory).unwrap();
    spool.make(17);
    fs::create_dir(spool.home.path().join("aside")).unwrap();
    fs::rename(spool.home.path().join("aside"), away.join("17")).unwrap();
    assert_ne!(spool.next_while_others_come(), "17");
    pass(SETTLED_AFTER);
    spool.await_told(17);
}

#[test]
fn a_spool_that_comes_back_whole_is_listed() {
    let mut spool = Spool::start(hurried);
    let away = spool.home.path().join("away");
    fs::rename(&spool.directory, &away).unwrap();
    fs::create_dir(away.join("17")).unwrap();
    fs::rename(&away, &spool.directory).unwrap();
    spool.await_told(17);
    spool.move_in(18);
    spool.await_told(18);
}

#[test]
fn a_spool_given_relative_to_where_we_stand_is_watched_again_too() {
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
        spool.await_told(name);
    }
}

#[test]
fn what_came_with_lost_events_comes_all_the_same() {
    let mut spool = Spool::start(hurried);
    spool.overflow();
    for name in 17..30 {
        spool.move_in(name);
    }
    let mut missing: Vec<String> = (17..30).map(|name: u32| name.to_string()).collect();
    while !missing.is_empty() {
        let told = spool.next();
        missing.retain(|name| *name != told);
    }
    spool.move_in(31);
    spool.await_told(31);
}

#[test]
fn what_was_being_made_with_lost_events_settles_first() {
    let mut spool = Spool::start(still);
    spool.overflow();
    spool.make(17);
    assert_ne!(spool.next_while_others_come(), "17");
    pass(SETTLED_AFTER);
    spool.await_told(17);
}

#[test]
fn stop_ends_a_watch_whatever_it_still_has_to_tell() {
    let mut spool = Spool::start_with(still, |directory| {
        fs::create_dir(directory.join("17")).unwrap();
        fs::create_dir(directory.join("18")).unwrap();
    });
    assert_eq!(spool.next(), "17");
    spool.overflow();
    // With nobody to take the events there is no room for a word of ours either, and it must not wait for any.
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
        // More than fits between its thread and us: the thread waits for room when its watch goes.
        Spool::start(still).stir(3000);
    }
    let mut spool = Spool::start(hurried);
    for name in 0..60 {
        fs::rename(&spool.directory, spool.home.path().join(format!("away.{name}"))).unwrap();
        fs::create_dir(&spool.directory).unwrap();
        spool.move_in(name);
        spool.await_told(name);
    }
    // The other tests have some of their own, at most a few each.
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
