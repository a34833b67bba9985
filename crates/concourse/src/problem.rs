//! What is wrong with a YAML document.

use std::path::Path;

use crate::node::Mark;
use diagnostic::{Diagnostic, Place};

/// One thing to correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub mark: Mark,
    pub message: String,
    pub help: Option<String>,
}

/// All that was found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problem {
    pub fn new(mark: Mark, message: impl Into<String>) -> Self {
        Self { mark, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the line of the document that it is about.
    pub fn diagnostic(self, path: &str, text: &str) -> Diagnostic {
        let line = text.lines().nth(self.mark.line.saturating_sub(1));
        let place = line.map(|line| Place {
            path: path.to_owned(),
            line: self.mark.line,
            column: line
                .chars()
                .take(self.mark.column.saturating_sub(1))
                .map(char::len_utf16)
                .sum::<usize>()
                + 1,
            text: shortened(line),
        });
        Diagnostic { place, help: self.help, ..Diagnostic::new(self.message) }
    }
}

impl Problems {
    pub fn add(&mut self, problem: Problem) {
        // An alias leads to the same place once more.
        if !self.is_full() && !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Whether nothing more is told, so that looking for the right words is in vain.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// The one that was found first.
    pub fn first(&self) -> Option<&Problem> {
        self.0.first()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the document.
    pub fn into_diagnostics(mut self, path: &Path, text: &str) -> Vec<Diagnostic> {
        self.0.sort_by_key(|problem| problem.mark);
        let path = path.display().to_string();
        self.0.into_iter().map(|problem| problem.diagnostic(&path, text)).collect()
    }
}

/// More problems than anybody corrects at once come from one mistake.
const MOST: usize = 100;

/// A minified document is one long line; nobody finds a caret in there.
fn shortened(line: &str) -> String {
    line.chars().take(400).collect()
}
