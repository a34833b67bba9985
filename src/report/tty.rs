//! A run on a terminal: the lines of plain text, and below them what is running.
//!
//! The status is drawn by hand: lines and status go out in one write, so that nothing flickers and
//! an error of the terminal is noticed like any other. Libraries for progress bars write on their
//! own and on their own schedule.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::duration::human;
use super::label::{escape, shorten};
use super::plain::Plain;
use super::render::Report;
use super::status::Status;
use super::style::{self, Paint};
use crate::event::{Event, RunEvent};

/// Fifteen frames a second.
const INTERVAL: Duration = Duration::from_millis(66);

/// Most tasks that are shown as running.
const MAX_TASKS: usize = 5;

/// A task's time is shown from here on; milliseconds would only flicker.
const SETTLED: Duration = Duration::from_secs(1);

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Columns and rows.
pub type Size = (u16, u16);

/// Plain text above a status that moves.
pub struct Tty {
    plain: Plain,
    paint: Paint,
    started: HashMap<u64, Instant>,
    /// What takes its time before a task starts.
    preparing: HashMap<u64, String>,
    status: Status,
    frames: usize,
    size: Box<dyn Fn() -> Option<Size>>,
}

impl Tty {
    /// `size` is asked before each frame; without a size there is no status.
    pub fn new(color: bool, size: impl Fn() -> Option<Size> + 'static) -> Self {
        Self {
            plain: Plain::new(color),
            paint: Paint { color },
            started: HashMap::new(),
            preparing: HashMap::new(),
            status: Status::default(),
            frames: 0,
            size: Box::new(size),
        }
    }

    /// The size of the terminal behind a file, if it is one.
    pub fn size(terminal: impl AsFd) -> Option<Size> {
        let (width, height) = terminal_size::terminal_size_of(terminal)?;
        Some((width.0, height.0))
    }

    /// One line for each of the first running tasks, and one for all others.
    fn lines(&self, rows: usize) -> Vec<String> {
        let running = self.plain.running();
        let total = running.len();
        let mut shown = total.min(MAX_TASKS);
        if shown > rows {
            shown = rows.saturating_sub(1);
        }
        let spinner = SPINNER[self.frames % SPINNER.len()];
        let mut lines: Vec<_> = running
            .take(shown)
            .map(|(id, label)| {
                let elapsed = self.started.get(&id).map_or(Duration::ZERO, Instant::elapsed);
                if let Some(what) = self.preparing.get(&id) {
                    format!("{spinner} {label} {what}")
                } else if elapsed < SETTLED {
                    format!("{spinner} {label}")
                } else {
                    format!("{spinner} {label} {}", human(elapsed))
                }
            })
            .collect();
        if shown < total && rows > 0 {
            lines.push(format!("  ... and {} more", total - shown));
        }
        lines
    }
}

impl Tty {
    /// Appends what there is to say about an event.
    pub fn tell(&mut self, event: &RunEvent, out: &mut Vec<u8>) {
        match event {
            RunEvent::TaskPreparing { id, what, done, .. } => {
                let done = done.map_or_else(String::new, |done| format!(" {:.0}%", done * 100.0));
                self.preparing.insert(*id, format!("{}{done}", escape(what)));
            }
            RunEvent::TaskStarted { id, .. } => {
                self.preparing.remove(id);
                self.started.insert(*id, Instant::now());
            }
            RunEvent::TaskFinished { id, .. } | RunEvent::TaskSkipped { id, .. } => {
                self.preparing.remove(id);
                self.started.remove(id);
            }
            _ => {}
        }
        self.plain.tell(event, out);
    }
}

impl Report for Tty {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.tell(&event.kind, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.plain.end(out);
        self.started.clear();
        self.preparing.clear();
    }

    fn pause(&mut self, out: &mut Vec<u8>) {
        let (width, _) = (self.size)().unwrap_or_default();
        self.status.clear(width.into(), out);
    }

    fn frame(&mut self, out: &mut Vec<u8>) {
        let (width, height) = (self.size)().unwrap_or_default();
        self.status.clear(width.into(), out);
        // Where the terminal is too small for lines and status, the lines are more important.
        let rows = usize::from(height).saturating_sub(2);
        let columns = usize::from(width).saturating_sub(1);
        let lines = self.lines(rows).into_iter().map(|line| shorten(&line, columns)).collect();
        self.status.draw(lines, |line| self.paint.text(style::QUIET, line), out);
        self.frames = self.frames.wrapping_add(1);
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn is_moving(&self) -> bool {
        !self.started.is_empty() || !self.preparing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::super::reporter::events::*;
    use super::*;
    use crate::event::{RunStatus, TaskStatus};
    use crate::task::Stream;

    /// A reporter and the terminal that it writes to.
    struct Screen {
        tty: Tty,
        size: Rc<Cell<Size>>,
        terminal: vt100::Parser,
        text: Vec<u8>,
    }

    impl Screen {
        fn new(width: u16, height: u16) -> Self {
            let size = Rc::new(Cell::new((width, height)));
            let asked = Rc::clone(&size);
            Self {
                tty: Tty::new(false, move || Some(asked.get())),
                size,
                terminal: vt100::Parser::new(height, width, 0),
                text: Vec::new(),
            }
        }

        fn show(&mut self, events: &[RunEvent]) -> String {
            for event in events {
                self.tty.tell(event, &mut self.text);
            }
            self.tty.frame(&mut self.text);
            // What a terminal makes of a line end.
            let text = String::from_utf8_lossy(&self.text).replace('\n', "\r\n");
            self.terminal.process(text.as_bytes());
            self.text.clear();
            self.terminal.screen().contents()
        }
    }

    #[test]
    fn lines_appear_above_what_is_running() {
        let mut screen = Screen::new(40, 10);
        assert_eq!(
            screen.show(&[started(1, "a", &["x"]), started(2, "b", &["y"])]),
            "* [a] started: x\n* [b] started: y\n⠋ a\n⠋ b"
        );
        assert_eq!(
            screen.show(&[output(1, "a", Stream::Stdout, "one\nhalf")]),
            "* [a] started: x\n* [b] started: y\n[a] one\n⠙ a\n⠙ b"
        );
        assert_eq!(
            screen.show(&[finished(1, "a", TaskStatus::Success, Some(0), 5)]),
            "* [a] started: x\n* [b] started: y\n[a] one\n[a] half\n* [a] finished in 5ms\n⠹ b"
        );
    }

    #[test]
    fn nothing_is_left_of_the_status_at_the_end() {
        let mut screen = Screen::new(40, 10);
        screen.show(&[started(1, "a", &["x"])]);
        let end = finished(1, "a", TaskStatus::Success, Some(0), 5);
        screen.show(&[]);
        assert_eq!(
            screen.show(&[end, run_finished(RunStatus::Success, 7)]),
            "* [a] started: x
* [a] finished in 5ms

TASK  STATUS   CODE  DURATION
a     success  0     5ms

run succeeded in 7ms: 1 task"
        );
    }

    #[test]
    fn many_tasks_are_a_handful_of_lines() {
        let mut screen = Screen::new(40, 200);
        let events: Vec<_> = (1..=102).map(|id| started(id, &format!("t{id}"), &["x"])).collect();
        let text = screen.show(&events);
        assert!(text.ends_with("\n⠋ t1\n⠋ t2\n⠋ t3\n⠋ t4\n⠋ t5\n  ... and 97 more"), "{text}");
    }

    #[test]
    fn a_small_terminal_shows_less() {
        let events: Vec<_> = (1..=4).map(|id| started(id, &format!("t{id}"), &["x"])).collect();
        let status = |height| {
            let text = Screen::new(40, height).show(&events);
            let lines = text.lines().filter(|line| !line.starts_with('*')).map(str::to_owned);
            lines.collect::<Vec<_>>()
        };
        assert_eq!(status(6), ["⠋ t1", "⠋ t2", "⠋ t3", "⠋ t4"]);
        assert_eq!(status(5), ["⠋ t1", "⠋ t2", "  ... and 2 more"]);
        assert_eq!(status(3), ["  ... and 4 more"]);
        assert_eq!(status(2), [""; 0]);
    }

    #[test]
    fn long_names_do_not_wrap() {
        let mut screen = Screen::new(20, 10);
        let text = screen.show(&[started(1, "a name that is too long", &["x"])]);
        assert!(text.ends_with("\n⠋ a name that is..."), "{text}");
    }

    #[test]
    fn a_terminal_that_became_narrow_is_cleared() {
        let mut screen = Screen::new(20, 10);
        screen.show(&[started(1, "a name that is too long", &["x"])]);
        screen.size.set((10, 10));
        screen.tty.frame(&mut screen.text);
        assert!(screen.text.starts_with(b"\r\x1b[1A\x1b[J"));
    }

    #[test]
    fn without_a_terminal_there_is_no_status() {
        let mut tty = Tty::new(false, || None);
        let mut out = Vec::new();
        tty.tell(&started(1, "a", &["x"]), &mut out);
        tty.frame(&mut out);
        assert_eq!(out, b"* [a] started: x\n");
    }
}
