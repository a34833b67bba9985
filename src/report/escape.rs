//! Terminal escape sequences in a task's output.
//!
//! The grammar is that of ECMA-48, with one deviation: a control string (a window title, say) ends
//! with its line, so that binary output that looks like its start hides no more than that. The crate
//! `anstyle-parse` has no such deviation, and does not say which bytes it has not understood.

/// Longest colour sequence that is believed, in bytes.
const MAX_PARAMETERS: usize = 64;

/// Follows one escape sequence, byte by byte and across chunks.
#[derive(Default)]
pub struct Escape {
    state: State,
    parameters: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Closed,
    /// After ESC.
    Start,
    /// After ESC and intermediate bytes: `ESC ( B`.
    Intermediate,
    /// After `ESC [`.
    Control,
    /// In a control string: `ESC ] 0 ; title BEL`.
    String,
    /// After ESC in a control string, which `\` ends.
    StringEnd,
}

/// What a byte means to the open sequence.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    /// It belongs to the sequence, which may have ended with it.
    Consumed,
    /// It ended a sequence that sets colours, which has these parameters.
    Color(&'a [u8]),
    /// It ended a sequence that moves within a line or erases a part of it: its last byte, and its
    /// parameters.
    Edit(u8, &'a [u8]),
    /// The sequence ended before this byte, which is to be read as text.
    Broken,
}

impl Escape {
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Opens a sequence after ESC.
    pub fn open(&mut self) {
        self.state = State::Start;
        self.parameters.clear();
    }

    /// Opens a sequence if the control character U+0080 to U+009F with this low byte starts one.
    pub fn open_c1(&mut self, low: u8) {
        self.open();
        // Each is short for ESC and the character that is 0x40 lower.
        self.state = Self::after_escape(low.wrapping_sub(0x40)).unwrap_or_default();
    }

    pub fn step(&mut self, byte: u8) -> Step<'_> {
        let next = match self.state {
            State::Closed => None,
            State::Start => Self::after_escape(byte),
            State::Intermediate => match byte {
                0x20..=0x2f => Some(State::Intermediate),
                0x30..=0x7e => Some(State::Closed),
                _ => None,
            },
            State::Control => match byte {
                0x20..=0x3f => {
                    if self.parameters.len() <= MAX_PARAMETERS {
                        self.parameters.push(byte);
                    }
                    Some(State::Control)
                }
                b'm' if self.has_numbers() => {
                    self.state = State::Closed;
                    return Step::Color(&self.parameters);
                }
                b'@' | b'C' | b'D' | b'G' | b'J' | b'K' | b'P' | b'X' | b'`' | b'a'
                    if self.has_numbers() =>
                {
                    self.state = State::Closed;
                    return Step::Edit(byte, &self.parameters);
                }
                0x40..=0x7e => Some(State::Closed),
                _ => None,
            },
            State::String => match byte {
                0x07 => Some(State::Closed),
                0x1b => Some(State::StringEnd),
                b'\n' | 0x18 | 0x1a => None,
                _ => Some(State::String),
            },
            State::StringEnd => match byte {
                b'\\' => Some(State::Closed),
                _ => Self::after_escape(byte),
            },
        };
        self.state = next.unwrap_or_default();
        if next.is_some() { Step::Consumed } else { Step::Broken }
    }

    fn after_escape(byte: u8) -> Option<State> {
        match byte {
            b'[' => Some(State::Control),
            b']' | b'P' | b'X' | b'^' | b'_' => Some(State::String),
            0x20..=0x2f => Some(State::Intermediate),
            0x30..=0x7e => Some(State::Closed),
            _ => None,
        }
    }

    /// Whether the parameters are numbers, as those of colours are.
    fn has_numbers(&self) -> bool {
        let known = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b';' | b':');
        self.parameters.len() <= MAX_PARAMETERS && self.parameters.iter().all(known)
    }
}
