//! What a task is called in the output.

use std::collections::HashSet;

use unicode_width::UnicodeWidthChar;

/// Longest label in terminal columns; it stands before every line.
const MAX_COLUMNS: usize = 60;

/// The labels of the tasks that are running, no two of them alike.
#[derive(Default)]
pub struct Labels {
    taken: HashSet<String>,
}

impl Labels {
    /// The task's name on one line. While another task is running under it, `#` and the task's id
    /// follow.
    pub fn take(&mut self, name: &str, id: u64) -> String {
        let mut label = String::new();
        for c in name.chars().take(MAX_COLUMNS * 4) {
            escape_into(&mut label, c);
        }
        label = shorten(&label, MAX_COLUMNS);
        while self.taken.contains(&label) {
            label = format!("{label}#{id}");
        }
        self.taken.insert(label.clone());
        label
    }

    pub fn release(&mut self, label: &str) {
        self.taken.remove(label);
    }
}

/// Appends a character, or how one would write it in a string literal when a terminal acts on it
/// instead of showing it.
pub fn escape_into(text: &mut String, c: char) {
    if c.is_control() {
        text.extend(c.escape_default());
    } else {
        text.push(c);
    }
}

/// A message as one line.
pub fn escape(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for c in message.chars() {
        escape_into(&mut text, c);
    }
    text
}

/// Cuts text at so many terminal columns and says so with three dots.
pub fn shorten(text: &str, max: usize) -> String {
    const DOTS: &str = "...";
    let mut columns = 0;
    let mut fits = 0;
    for (at, c) in text.char_indices() {
        columns += c.width().unwrap_or(0);
        if columns > max {
            return format!("{}{DOTS}", &text[..fits]);
        }
        if columns + DOTS.len() <= max {
            fits = at + c.len_utf8();
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_share_a_name_are_told_apart_while_they_run() {
        let mut labels = Labels::default();
        assert_eq!(labels.take("build", 1), "build");
        assert_eq!(labels.take("build", 7), "build#7");
        labels.release("build");
        assert_eq!(labels.take("build", 8), "build");
        assert_eq!(labels.take("build#9", 2), "build#9");
        assert_eq!(labels.take("build", 9), "build#9#9");
    }

    #[test]
    fn a_name_cannot_leave_its_line() {
        let mut labels = Labels::default();
        assert_eq!(labels.take("a\nb\x1b[2J\u{9b}", 1), r"a\nb\u{1b}[2J\u{9b}");
        assert_eq!(labels.take("../🚀 x", 2), "../🚀 x");
    }

    #[test]
    fn long_text_is_cut_by_columns() {
        assert_eq!(shorten("12345678", 8), "12345678");
        assert_eq!(shorten("123456789", 8), "12345...");
        assert_eq!(shorten("漢字漢字漢字", 8), "漢字...");
    }

    #[test]
    fn long_names_stay_apart() {
        let mut labels = Labels::default();
        let long = "x".repeat(1000);
        let first = labels.take(&long, 1);
        assert_ne!(labels.take(&long, 2), first);
        assert_eq!(first.len(), MAX_COLUMNS);
    }
}
