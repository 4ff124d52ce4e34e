//! The soak's receivers: each has its own port and schedule, and writes every whole line to a file.
//!
//! A schedule is a list of phases that begins anew after the last one. The random faults of the
//! soak reach a receiver only in the phase `faults`. The files are also the evidence when a line is
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use testbed::graphite::{Archive, Cause, LineFile, Manner, Receiver};

use super::verdict;
use crate::Failure;

/// Receivers of a soak at most, so that the output stays readable; the program has no limit.
const RECEIVERS_MAX: usize = 8;
/// Connections of one receiver that can be spoiled in advance. A receiver that is never good would
/// only fill the outbox.
const SPOILED_MAX: usize = 4;
/// The pause between two bytes of a slow receiver.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

/// The behaviour of a receiver during a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    /// Good, but the random faults reset, close and stall connections, and take it down.
    Faults,
    Good,
    /// Reads one byte a second.
    Slow,
    /// Reads nothing and keeps connections.
    Unread,
    /// Refuses connections.
    Down,
}

const CONDUCTS: [(&str, Conduct); 5] = [
    ("faults", Conduct::Faults),
    ("good", Conduct::Good),
    ("slow", Conduct::Slow),
    ("unread", Conduct::Unread),
    ("down", Conduct::Down),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phase {
    conduct: Conduct,
    /// `None`: to the end of the soak.
    lasts: Option<Duration>,
}

/// The phases of one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// The receiver's name: `graphite`, or the name in the section `[graphite:name]`.
    name: String,
    phases: Vec<Phase>,
}

impl Schedule {
    /// Reads `name=conduct:seconds,conduct:seconds`; without seconds a phase lasts to the end.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, phases) =
            text.split_once('=').ok_or("it has the form NAME=CONDUCT[:SECONDS]")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("the name needs letters or digits, and nothing else".to_owned());
        }
        let phases: Result<Vec<Phase>, String> = phases.split(',').map(Phase::parse).collect();
        Ok(Self { name: name.to_owned(), phases: phases? })
    }
}

impl Phase {
    fn parse(text: &str) -> Result<Self, String> {
        let (word, lasts) = match text.split_once(':') {
            None => (text, None),
            Some((word, seconds)) => match seconds.parse() {
                Ok(seconds @ 1..) => (word, Some(Duration::from_secs(seconds))),
                _ => return Err(format!("{seconds} is no whole number of seconds above 0")),
            },
        };
        match CONDUCTS.iter().find(|(name, _)| *name == word) {
            Some((_, conduct)) => Ok(Self { conduct: *conduct, lasts }),
            None => {
                let known = CONDUCTS.map(|(name, _)| name).join(", ");
                Err(format!("there is no conduct {word:?}; there are {known}"))
            }
        }
    }
}

/// A file of lines with the time of the last line of each snapshot.
struct TimedFile {
    lines: LineFile,
    times: Mutex<BTreeMap<u64, Instant>>,
}

impl TimedFile {
    const fn new(lines: LineFile) -> Self {
        Self { lines, times: Mutex::new(BTreeMap::new()) }
    }
}

impl Archive for TimedFile {
    type Page = Vec<u8>;

    fn open(&self) -> Vec<u8> {
        self.lines.open()
    }

    fn keep(&self, page: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
        let begun = page.clone();
        self.lines.keep(page, bytes)?;
        // The last whole line of a snapshot. It can have begun in an earlier piece, and lines about
        // the program can follow it.
        let text = [begun.as_slice(), bytes].concat();
        let whole = &text[..text.len() - page.len()];
        let line = |line: &[u8]| verdict::snapshot_of(std::str::from_utf8(line).ok()?);
        if let Some(timestamp) = whole.rsplit(|byte| *byte == b'\n').find_map(line) {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.insert(timestamp, Instant::now());
        }
        Ok(())
    }

    fn close(&self, page: Vec<u8>, cause: Cause) {
        self.lines.close(page, cause);
    }
}

/// A receiver at work.
struct Station {
    schedule: Schedule,
    /// The index of the phase, and when it began.
    phase: usize,
    since: Duration,
    /// Whether the schedule is over; the receiver is good from then on.
    over: bool,
    received: PathBuf,
    server: Receiver<TimedFile>,
}

/// All receivers of a soak.
pub(super) struct Receivers(Vec<Station>);

impl Receivers {
    /// Listens on free ports. Lines go to files in the folder, whose names begin with `file`.
    pub(super) fn start(
        schedules: &[Schedule],
        folder: &Path,
        file: &str,
    ) -> Result<Self, Failure> {
        if schedules.len() > RECEIVERS_MAX {
            return Err(format!(
                "a soak can have {RECEIVERS_MAX} receivers, not {}",
                schedules.len()
            ));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = schedules.iter().find(|schedule| !names.insert(&schedule.name)) {
            return Err(format!("there are two receivers {}", twice.name));
        }
        let mut stations = Vec::with_capacity(schedules.len());
        for schedule in schedules {
            let received = folder.join(format!("{file}-{}.txt", schedule.name));
            let lines = LineFile::create(&received)
                .map_err(|error| format!("{}: {error}", received.display()))?;
            let server =
                Receiver::start(TimedFile::new(lines), Manner::Whole).map_err(|error| {
                    format!("the receiver {} cannot listen: {error}", schedule.name)
                })?;
            let (schedule, since) = (schedule.clone(), Duration::ZERO);
            let mut station = Station { schedule, phase: 0, since, over: false, received, server };
            station.begin_phase()?;
            stations.push(station);
        }
        Ok(Self(stations))
    }

    /// Starts one receiver that is good all the time.
    pub(super) fn start_good(folder: &Path, file: &str) -> Result<Self, Failure> {
        let phases = vec![Phase { conduct: Conduct::Good, lasts: None }];
        Self::start(&[Schedule { name: "graphite".to_owned(), phases }], folder, file)
    }

    /// The section of each receiver in the configuration, and its port.
    pub(super) fn sections(&self) -> Vec<(String, u16)> {
        let section = |station: &Station| match station.schedule.name.as_str() {
            "graphite" => "graphite".to_owned(),
            name => format!("graphite:{name}"),
        };
        self.0.iter().map(|station| (section(station), station.server.port())).collect()
    }

    /// The name of each receiver, and the file of its lines.
    pub(super) fn files(&self) -> Vec<(String, PathBuf)> {
        let file = |station: &Station| (station.schedule.name.clone(), station.received.clone());
        self.0.iter().map(file).collect()
    }

    /// Lines that came whole so far, by receiver.
    pub(super) fn lines(&self) -> Vec<u64> {
        self.0.iter().map(|station| station.server.archive().lines.lines()).collect()
    }

    /// The time of each snapshot's last line at the receivers that are good all the time.
    pub(super) fn healthy(&self) -> Vec<(String, BTreeMap<u64, Instant>)> {
        let mut healthy = Vec::new();
        for Station { schedule, server, .. } in &self.0 {
            if schedule.phases.iter().all(|phase| phase.conduct == Conduct::Good) {
                let times = server.archive().times.lock().unwrap_or_else(PoisonError::into_inner);
                healthy.push((schedule.name.clone(), times.clone()));
            }
        }
        healthy
    }

    /// Begins the phases that are due; must be called often.
    pub(super) fn follow_schedules(&mut self, elapsed: Duration) -> Result<(), Failure> {
        for station in &mut self.0 {
            let lasts = station.schedule.phases[station.phase].lasts;
            if !station.over && lasts.is_some_and(|lasts| elapsed - station.since >= lasts) {
                station.phase = (station.phase + 1) % station.schedule.phases.len();
                station.since = elapsed;
                station.begin_phase()?;
            }
        }
        Ok(())
    }

    /// The numbers of the receivers that random faults reach now.
    pub(super) fn exposed(&self) -> Vec<usize> {
        let exposed = |number: &usize| self.0[*number].conduct() == Conduct::Faults;
        (0..self.0.len()).filter(exposed).collect()
    }

    /// Spoils a later connection, unless enough connections are spoiled already.
    pub(super) fn spoil(&self, number: usize, manner: Manner) {
        self.0[number].server.spoil(manner, SPOILED_MAX);
    }

    /// Refuses connections and resets the open ones.
    pub(super) fn go_down(&mut self, number: usize) {
        self.0[number].server.go_down();
    }

    /// Listens again, unless the schedule keeps the receiver down.
    pub(super) fn come_up(&mut self, number: usize) -> Result<(), Failure> {
        let station = &mut self.0[number];
        if station.conduct() == Conduct::Down { Ok(()) } else { station.come_up() }
    }

    /// Makes all receivers good from now on.
    pub(super) fn be_good(&mut self) -> Result<(), Failure> {
        for station in &mut self.0 {
            station.over = true;
            station.begin_phase()?;
        }
        Ok(())
    }

    /// Ends the receivers once all senders have ended, and completes the files.
    pub(super) fn finish(self) -> Result<(), Failure> {
        for Station { schedule, received, server, .. } in self.0 {
            let lines = server.finish().map_err(|error| format!("{}: {error}", schedule.name))?;
            lines.lines.flush().map_err(|error| format!("{}: {error}", received.display()))?;
        }
        Ok(())
    }
}

impl Station {
    fn conduct(&self) -> Conduct {
        if self.over { Conduct::Good } else { self.schedule.phases[self.phase].conduct }
    }

    fn begin_phase(&mut self) -> Result<(), Failure> {
        self.server.spoil_none();
        match self.conduct() {
            Conduct::Faults | Conduct::Good => self.server.behave(Manner::Whole),
            Conduct::Slow => self.server.behave(Manner::Trickle(SLOW_PAUSE)),
            Conduct::Unread => self.server.behave(Manner::NeverRead),
            Conduct::Down => {
                self.server.go_down();
                return Ok(());
            }
        }
        self.come_up()
    }

    fn come_up(&mut self) -> Result<(), Failure> {
        let port = self.server.port();
        self.server
            .come_up()
            .map_err(|error| format!("{}, port {port}: {error}", self.schedule.name))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_plan_is_read() {
        let schedule = Schedule::parse("graphite=slow:20,down:10,good").unwrap();
        let phase = |conduct, seconds: Option<u64>| Phase {
            conduct,
            lasts: seconds.map(Duration::from_secs),
        };
        let phases = [
            phase(Conduct::Slow, Some(20)),
            phase(Conduct::Down, Some(10)),
            phase(Conduct::Good, None),
        ];
        assert_eq!((schedule.name.as_str(), &schedule.phases[..]), ("graphite", &phases[..]));
        for (text, fault) in [
            ("graphite", "NAME=CONDUCT"),
            ("a:b=good", "letters or digits"),
            ("graphite=quick", "there is no conduct \"quick\"; there are faults, good"),
            ("graphite=down:0", "0 is no whole number"),
            ("graphite=", "there is no conduct \"\""),
        ] {
            let message = Schedule::parse(text).unwrap_err();
            assert!(message.contains(fault), "{text}: {message}");
        }
    }

    #[test]
    fn a_plan_is_followed_and_begins_anew() {
        let folder = std::env::temp_dir().join(format!("soak-receivers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let schedule = Schedule::parse("graphite=down:10,faults:5").unwrap();
        let mut receivers = Receivers::start(&[schedule], &folder, "received").unwrap();
        let (section, port) = receivers.sections().remove(0);
        assert_eq!(section, "graphite");
        let is_up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        for (second, up) in [(0, false), (9, false), (10, true), (14, true), (15, false)] {
            receivers.follow_schedules(Duration::from_secs(second)).unwrap();
            assert_eq!((is_up(), receivers.exposed().len()), (up, usize::from(up)), "{second}");
        }
        receivers.come_up(0).unwrap();
        assert!(!is_up(), "the schedule has it down");
        receivers.be_good().unwrap();
        assert!(is_up());
        receivers.finish().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_end_of_a_snapshot_is_timed_though_own_lines_follow() {
        let path = std::env::temp_dir().join(format!("soak-timed-{}", std::process::id()));
        let file = TimedFile::new(LineFile::create(&path).unwrap());
        let mut page = file.open();
        for piece in ["s.haproxy.a 1 1", "0\ns.haproxy.haproxystats.T 1 99\ns.haproxy.b 1 1"] {
            file.keep(&mut page, piece.as_bytes()).unwrap();
        }
        std::fs::remove_file(path).unwrap();
        assert_eq!(file.times.lock().unwrap().keys().collect::<Vec<_>>(), [&10]);
    }

    #[test]
    fn receivers_are_few_and_have_names_of_their_own() {
        let start = |names: &[&str]| {
            let schedules: Vec<Schedule> = names
                .iter()
                .map(|name| Schedule::parse(&format!("{name}=good")).unwrap())
                .collect();
            Receivers::start(&schedules, Path::new("/nonexistent"), "received").err().unwrap()
        };
        let failure = start(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
        assert!(failure.contains("8 receivers, not 9"), "{failure}");
        let failure = start(&["graphite", "second", "second"]);
        assert!(failure.contains("two receivers second"), "{failure}");
    }
}
