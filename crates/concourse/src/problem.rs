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
#[derive(Clone, Debug, Default)]
pub struct Problems {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    notices: Vec<String>,
}

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
        add(&mut self.errors, problem);
    }

    /// Adds what Concourse would refuse and we do not, or what is probably a mistake.
    pub fn warn(&mut self, problem: Problem) {
        add(&mut self.warnings, problem);
    }

    /// Adds what a user should know who expects Concourse, once.
    pub fn notice(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notices.contains(&text) {
            self.notices.push(text);
        }
    }

    /// Whether nothing more is told, so that looking for the right words is in vain.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= MOST
    }

    /// Whether no further warning is told.
    pub fn is_full_of_warnings(&self) -> bool {
        self.warnings.len() >= MOST
    }

    /// The one that was found first.
    pub fn first(&self) -> Option<&Problem> {
        self.errors.first()
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// In the order of the document.
    pub fn into_diagnostics(self, path: &Path, text: &str) -> Vec<Diagnostic> {
        diagnostics(self.errors, path, text)
    }

    /// The warnings, in the order of the document, and the notices.
    pub fn into_remarks(self, path: &Path, text: &str) -> (Vec<Diagnostic>, Vec<String>) {
        (diagnostics(self.warnings, path, text), self.notices)
    }
}

fn add(list: &mut Vec<Problem>, problem: Problem) {
    // An alias leads to the same place once more.
    if list.len() < MOST && !list.contains(&problem) {
        list.push(problem);
    }
}

fn diagnostics(mut list: Vec<Problem>, path: &Path, text: &str) -> Vec<Diagnostic> {
    list.sort_by_key(|problem| problem.mark);
    let path = path.display().to_string();
    list.into_iter().map(|problem| problem.diagnostic(&path, text)).collect()
}

/// More problems than anybody corrects at once come from one mistake.
const MOST: usize = 100;

/// A minified document is one long line; nobody finds a caret in there.
fn shortened(line: &str) -> String {
    line.chars().take(400).collect()
}
