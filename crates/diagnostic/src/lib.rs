//! A problem in a user's file, shown with the place where it is.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// What is wrong, where, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diagnostic {
    /// One or more lines; the first one stands alone in a heading.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The calls that led there, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What led to it, most recent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Diagnostic>,
    /// What relates it to the problem that it is a cause of, where that is not `caused by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'static str>,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// In UTF-16 code units as JavaScript has it, counted from 1.
    pub column: usize,
    /// The text of the line.
    pub text: String,
}

impl Diagnostic {
    /// Whether this, or one of its causes, has the text in its message.
    pub fn mentions(&self, text: &str) -> bool {
        self.message.contains(text) || self.causes.iter().any(|cause| cause.mentions(text))
    }

    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As it is shown to a person, without a line feed at the end.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = self.part(&renderer, Level::ERROR);
        for cause in &self.causes {
            text.push('\n');
            let label = cause.label.unwrap_or("caused by");
            text.push_str(&cause.part(&renderer, Level::ERROR.with_name(label)));
        }
        text
    }

    /// The same for what is no error, without causes.
    pub fn render_warning(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        self.part(&renderer, Level::WARNING)
    }

    fn part(&self, renderer: &Renderer, level: Level<'_>) -> String {
        let (heading, details) = self.message.split_once('\n').unwrap_or((&self.message, ""));
        // The renderer shows the others in its own way.
        let heading = without_c1(heading);
        let place = self.place.as_ref().map(|place| Place {
            path: printable(&place.path),
            text: without_c1(&place.text),
            ..place.clone()
        });
        let mut group: Group<'_> = Group::with_title(level.primary_title(&*heading));
        if let Some(place) = &place {
            let at = place.byte_offset();
            let len = place.text[at..].chars().next().map_or(0, char::len_utf8);
            group = group.element(
                Snippet::source(&place.text)
                    .line_start(place.line)
                    .path(&place.path)
                    .annotation(AnnotationKind::Primary.span(at..at + len)),
            );
        }
        let mut text = renderer.render(&[group]);
        if !details.is_empty() {
            text.push('\n');
            text.push_str(&printable(details.trim_end()));
        }
        for frame in &self.stack {
            text.push_str("\n    at ");
            text.push_str(&printable(frame));
        }
        if let Some(help) = &self.help {
            text.push_str("\nhelp: ");
            text.push_str(&printable(help));
        }
        text
    }
}

/// Without the control characters from U+0080 on, which are short for sequences.
fn without_c1(text: &str) -> String {
    let shown = |c| if matches!(c, '\u{80}'..='\u{9f}') { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// Without what would make a terminal do something: messages may repeat what a task wrote.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(
            |c| {
                if c.is_control() && c != '\n' && c != '\t' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            },
        )
        .collect()
}

impl Place {
    /// Where the column is in the bytes of the line.
    fn byte_offset(&self) -> usize {
        let mut units = 1;
        for (offset, character) in self.text.char_indices() {
            if units >= self.column {
                return offset;
            }
            units += character.len_utf16();
        }
        self.text.len()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(false).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_shown_with_a_caret() {
        let diagnostic = Diagnostic {
            message: "Error: boom".into(),
            place: Some(Place {
                path: "ci.ts".into(),
                line: 12,
                column: 8,
                text: "  f(\"🚀\", x);".into(),
            }),
            stack: vec!["pipeline (ci.ts:12:8)".into()],
            help: Some("try again".into()),
            causes: vec![Diagnostic::new("Error: deeper")],
            label: None,
        };
        insta::assert_snapshot!(diagnostic.render(false), @r#"
        error: Error: boom
          --> ci.ts:12:7
           |
        12 |   f("🚀", x);
           |        ^
            at pipeline (ci.ts:12:8)
        help: try again
        caused by: Error: deeper
        "#);
    }
}
