//! The dialogue of one connection, without I/O: bytes of requests become bytes of answers.
//!
//! The first command is answered and ends the dialogue, unless it is `interactive`. Then commands
//! follow until `quit`, and an empty line repeats the last one.

use std::fmt::Write;

use super::history::HISTORY_SECONDS;

/// Bytes of a line. The longest request of use has some dozens.
const LINE_MAX_BYTES: usize = 1024;
/// Lines of a connection, empty ones included.
const LINES_MAX: usize = 1000;
/// The time over which figures are counted if a request names none.
const SAMPLING_SECONDS: u64 = 300;

/// The program that is asked.
pub trait Subject: Send + Sync {
    /// Whether it does its work.
    fn health(&self) -> Health;
    /// Its figures over the last `seconds` as one line of JSON, all or those of one source; `None`
    /// if it has no source of this name.
    fn figures(&self, source: Option<&str>, seconds: u64) -> Option<String>;
    /// Names of its sources.
    fn sources(&self) -> Vec<String>;
    /// Some lines about its process.
    fn process(&self) -> String;
}

/// Whether a program does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Healthy,
    /// It has just started.
    Booting,
    /// It processes the snapshots that waited before its start.
    WarmingUp,
    /// It does not, for this reason.
    Failing(String),
}

/// The next step of a dialogue.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    Read,
    /// An answer, after which the dialogue goes on.
    Answer(Vec<u8>),
    /// The last answer, after which the connection is closed.
    Last(Vec<u8>),
}

/// The state of a dialogue.
///
/// ```
/// use haproxystats_daemon::monitor::{Health, Session, Step, Subject};
///
/// struct Program;
///
/// impl Subject for Program {
///     fn health(&self) -> Health {
///         Health::Healthy
///     }
///     fn figures(&self, _source: Option<&str>, _seconds: u64) -> Option<String> {
///         None
///     }
///     fn sources(&self) -> Vec<String> {
///         Vec::new()
///     }
///     fn process(&self) -> String {
///         String::new()
///     }
/// }
///
/// let mut session = Session::default();
/// session.push(b"health_che");
/// assert_eq!(session.step(&Program), Step::Read);
/// session.push(b"ck\r\n");
/// assert_eq!(session.step(&Program), Step::Last(b"OK\n".to_vec()));
/// ```
#[derive(Debug, Default)]
pub struct Session {
    received: Vec<u8>,
    last: Vec<Vec<u8>>,
    lines: usize,
    is_interactive: bool,
}

struct Command {
    name: &'static str,
    /// The first line is what `help` shows.
    description: &'static str,
}

/// Sorted by name, as `help` lists them.
const COMMANDS: [Command; 6] = [
    Command {
        name: "health_check",
        description: "Tell whether the program does its work.\n\n\
                      Two letters if it does, as load balancers expect them; else the state or the \
                      reason, in one line.\n",
    },
    Command {
        name: "help",
        description: "List the commands, or describe one\n\n\
                      help [command]\n",
    },
    Command {
        name: "interactive",
        description: "Keep the connection for further commands\n\n\
                      An empty line repeats the last command, and \"quit\" ends the connection.\n",
    },
    Command { name: "monitor", description: "Show version, uptime and memory\n" },
    Command {
        name: "perf_metrics",
        description: "Give figures about the program as JSON\n\n\
                      perf_metrics [source|-] [seconds]\n\n\
                      A source selects its own figures, and - all of them. Counters are counted \
                      over so many seconds, 300 by default and 3600 at most.\n",
    },
    Command { name: "quit", description: "End the connection\n" },
];

impl Session {
    /// Adds bytes that have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Whether commands follow until `quit`.
    #[must_use]
    pub const fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Answers the next line that is whole.
    pub fn step(&mut self, subject: &dyn Subject) -> Step {
        loop {
            let end = self.received.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(self.received.len());
            if length > LINE_MAX_BYTES {
                let text = format!("Error: the line has more than {LINE_MAX_BYTES} bytes\n");
                return Step::Last(text.into_bytes());
            }
            let Some(end) = end else { return Step::Read };
            let line: Vec<u8> = self.received.drain(..=end).collect();
            self.lines += 1;
            if self.lines > LINES_MAX {
                let text = format!("Error: the connection has had {LINES_MAX} lines\n");
                return Step::Last(text.into_bytes());
            }
            let words = words(&line);
            if !words.is_empty() {
                self.last = words;
            } else if self.last.is_empty() {
                continue;
            }
            return self.answer(subject);
        }
    }

    /// Answers the last command.
    fn answer(&mut self, subject: &dyn Subject) -> Step {
        let words: Vec<&[u8]> = self.last.iter().map(Vec::as_slice).collect();
        let answer = match words.as_slice() {
            [b"health_check", ..] => health(&subject.health()),
            [b"help"] => list(),
            [b"help", name, ..] => describe(name),
            [b"perf_metrics", arguments @ ..] => figures(arguments, subject),
            [b"monitor", ..] => veil(&subject.process(), TEXT_K),
            [b"interactive", ..] => {
                self.is_interactive = true;
                "Interactive mode on.  Use \"quit\" To exit.\n".to_owned()
            }
            [b"quit", ..] => return Step::Last(b"Goodbye.\n".to_vec()),
            [name, ..] => unknown(name),
            [] => String::new(),
        };
        if self.is_interactive {
            Step::Answer(answer.into_bytes())
        } else {
            Step::Last(answer.into_bytes())
        }
    }
}

/// Stands for a K in a text, in Python's form of a letter by its number.
const TEXT_K: &str = "\\x4b";
/// Stands for a K in JSON, whose readers see the letter.
const JSON_K: &str = "\\u004b";

/// The text without the letters that mean a healthy program.
fn veil(text: &str, k: &str) -> String {
    text.replace("OK", &format!("O{k}"))
}

fn words(line: &[u8]) -> Vec<Vec<u8>> {
    // A vertical tab is a blank for the original, and none for Rust.
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    line.split(is_blank).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

fn health(health: &Health) -> String {
    match health {
        Health::Healthy => "OK\n".to_owned(),
        Health::Booting => "Instance is booting\n".to_owned(),
        Health::WarmingUp => "Warmup in progress\n".to_owned(),
        Health::Failing(reason) => {
            let line = reason.replace(char::is_control, " ");
            format!("Error: {}\n", veil(&line, TEXT_K))
        }
    }
}

fn list() -> String {
    let mut text = "Supported commands:\n".to_owned();
    for Command { name, description } in &COMMANDS {
        let first = description.lines().next().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name} -- {first}");
    }
    text
}

fn describe(name: &[u8]) -> String {
    match COMMANDS.iter().find(|command| command.name.as_bytes() == name) {
        Some(Command { name, description }) => format!("Help for {name}:\n\n{description}\n"),
        None => unknown(name),
    }
}

fn unknown(name: &[u8]) -> String {
    format!("Invalid command {}\nTry \"help\".\n", veil(&quoted(name), TEXT_K))
}

fn figures(arguments: &[&[u8]], subject: &dyn Subject) -> String {
    let (source, seconds) = match arguments {
        [] => (None, None),
        [source] => (Some(source), None),
        [source, seconds, ..] => (Some(source), Some(seconds)),
    };
    let seconds = match seconds.map(|text| String::from_utf8_lossy(text)) {
        None => SAMPLING_SECONDS,
        Some(text) => match text.parse() {
            Ok(seconds) if (1..=HISTORY_SECONDS).contains(&seconds) => seconds,
            _ => {
                return format!("Error: seconds are a whole number from 1 to {HISTORY_SECONDS}\n");
            }
        },
    };
    let name = source.filter(|name| **name != b"-").map(|name| String::from_utf8_lossy(name));
    match (subject.figures(name.as_deref(), seconds), source) {
        (Some(json), _) => veil(&json, JSON_K) + "\n",
        (None, source) => {
            let name = quoted(source.copied().unwrap_or_default());
            let text = format!("no source {name}, only - {}", subject.sources().join(" "));
            format!("Error: {}\n", veil(&text, TEXT_K))
        }
    }
}

/// A word in quotes, as the original's Python writes it.
fn quoted(word: &[u8]) -> String {
    let quote = if word.contains(&b'\'') && !word.contains(&b'"') { '"' } else { '\'' };
    let mut text = String::from(quote);
    for byte in word {
        let letter = char::from(*byte);
        if letter == quote || letter == '\\' {
            text.push('\\');
            text.push(letter);
        } else if letter.is_ascii_graphic() {
            text.push(letter);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Program(Health);

    impl Subject for Program {
        fn health(&self) -> Health {
            self.0.clone()
        }

        fn figures(&self, source: Option<&str>, seconds: u64) -> Option<String> {
            let name = source.unwrap_or("all OK");
            (name != "nosuch").then(|| format!("{{\"{name}\": {seconds}}}"))
        }

        fn sources(&self) -> Vec<String> {
            vec!["haproxy".to_owned()]
        }

        fn process(&self) -> String {
            "test 1\n".to_owned()
        }
    }

    /// The answers to bytes that come in pieces of this size, and whether we close.
    fn transcript(health: Health, bytes: &[u8], piece: usize) -> (String, bool) {
        let (mut session, program, mut all) = (Session::default(), Program(health), Vec::new());
        for piece in bytes.chunks(piece) {
            session.push(piece);
            loop {
                match session.step(&program) {
                    Step::Read => break,
                    Step::Answer(answer) => all.extend(answer),
                    Step::Last(answer) => {
                        all.extend(answer);
                        return (String::from_utf8(all).unwrap(), true);
                    }
                }
            }
        }
        (String::from_utf8(all).unwrap(), false)
    }

    fn answer(bytes: &[u8]) -> String {
        let (text, closes) = transcript(Health::Healthy, bytes, bytes.len());
        assert!(closes, "{text}");
        text
    }

    #[test]
    fn the_first_command_is_answered_and_later_lines_are_not() {
        assert_eq!(answer(b"health_check\nhelp\n"), "OK\n");
        assert_eq!(answer(b"\n \r\n\thealth_check \x0b now\r\n"), "OK\n");
        assert_eq!(answer(b"quit\n"), "Goodbye.\n");
        assert_eq!(answer(b"monitor\n"), "test 1\n");
        let untold = transcript(Health::Healthy, b"\n\r\nhealth_check", 99);
        assert_eq!(untold, (String::new(), false), "a line without its end is no request");
    }

    #[test]
    fn an_unknown_command_is_quoted_as_the_original_does() {
        let invalid = |word: &str| format!("Invalid command {word}\nTry \"help\".\n");
        assert_eq!(answer(b"nosuch a b\n"), invalid("'nosuch'"));
        assert_eq!(answer(b"it's\n"), invalid("\"it's\""));
        assert_eq!(answer(b"'\"\\\n"), invalid("'\\'\"\\\\'"));
        assert_eq!(answer(b"\xff\x00\n"), invalid("'\\xff\\x00'"));
        assert_eq!(answer(b"help nosuch\n"), invalid("'nosuch'"));
    }

    #[test]
    fn help_lists_the_commands_and_describes_one() {
        assert_eq!(
            answer(b"help\n"),
            "Supported commands:\n  \
             health_check -- Tell whether the program does its work.\n  \
             help -- List the commands, or describe one\n  \
             interactive -- Keep the connection for further commands\n  \
             monitor -- Show version, uptime and memory\n  \
             perf_metrics -- Give figures about the program as JSON\n  \
             quit -- End the connection\n"
        );
        assert_eq!(answer(b"help quit\n"), "Help for quit:\n\nEnd the connection\n\n");
        let mut names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        names.sort_unstable();
        for (command, name) in COMMANDS.iter().zip(names) {
            assert_eq!(command.name, name, "sorted");
            assert!(answer(format!("help {name}\n").as_bytes()).contains(command.description));
        }
    }

    #[test]
    fn an_interactive_dialogue_goes_on_until_quit_in_pieces_of_any_size() {
        let bytes = b"interactive\r\nperf_metrics - 60\r\n\n\nnosuch\nquit\nhelp\n";
        let expected = "Interactive mode on.  Use \"quit\" To exit.\n\
                        {\"all O\\u004b\": 60}\n{\"all O\\u004b\": 60}\n{\"all O\\u004b\": 60}\n\
                        Invalid command 'nosuch'\nTry \"help\".\nGoodbye.\n";
        for piece in [1, 2, 7, bytes.len()] {
            assert_eq!(transcript(Health::Healthy, bytes, piece), (expected.to_owned(), true));
        }
    }

    #[test]
    fn figures_are_of_a_source_or_of_all_over_a_bounded_time() {
        assert_eq!(answer(b"perf_metrics haproxy\n"), "{\"haproxy\": 300}\n");
        assert_eq!(answer(b"perf_metrics haproxy 3600\n"), "{\"haproxy\": 3600}\n");
        let none = "Error: no source 'nosuch', only - haproxy\n";
        assert_eq!(answer(b"perf_metrics nosuch\n"), none);
        for seconds in ["0", "3601", "-1", "x", "1.5"] {
            let text = answer(format!("perf_metrics - {seconds}\n").as_bytes());
            assert_eq!(text, "Error: seconds are a whole number from 1 to 3600\n");
        }
    }

    #[test]
    fn only_a_healthy_program_is_told_by_the_two_letters() {
        let reason = "graphite:TOKYO is\nOK no more".to_owned();
        for (health, text) in [
            (Health::Booting, "Instance is booting\n"),
            (Health::WarmingUp, "Warmup in progress\n"),
            (Health::Failing(reason), "Error: graphite:TO\\x4bYO is O\\x4b no more\n"),
        ] {
            assert_eq!(transcript(health, b"health_check\r\n", 99).0, text);
        }
        for request in ["help", "help health_check", "help perf_metrics", "OK", "OOKK", "help OK"] {
            let text = answer(format!("{request}\n").as_bytes());
            assert!(!text.contains("OK"), "{request}: {text}");
        }
        assert_eq!(answer(b"OOKK\n"), "Invalid command 'OO\\x4bK'\nTry \"help\".\n");
    }

    #[test]
    fn a_line_and_the_number_of_lines_have_a_bound() {
        let long = vec![b'x'; LINE_MAX_BYTES + 1];
        assert_eq!(answer(&long), "Error: the line has more than 1024 bytes\n");
        let mut lines = b"interactive\n".to_vec();
        lines.extend(vec![b'\n'; LINES_MAX]);
        assert!(answer(&lines).ends_with("Error: the connection has had 1000 lines\n"));
        assert_eq!(answer(&vec![b'\n'; 2000]), "Error: the connection has had 1000 lines\n");
    }
}
