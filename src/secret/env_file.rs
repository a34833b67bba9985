//! Files of `--secrets-file`: `NAME=value` a line, as `.env` files of Node.js and Docker Compose have it.
//!
//! `#` begins a comment at the beginning of a line or after a blank, and `export` before a name is left out.
//! Quotes keep blanks, `#` and line breaks: nothing has a meaning between `'` and `'`; between `"` and `"`
//! the escapes are `\n`, `\r`, `\t`, `\"`, `\\` and `\$`. A `$` stands for itself everywhere: crates that
//! replace variables in values would change a password that has one.

use std::path::Path;

use mask::SecretValue;

use super::{is_name, read_file};

/// Why a file of secrets cannot be read. No part of a line is shown, since it may be a value.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum EnvFileError {
    #[error("cannot read it: {0}")]
    Read(String),
    #[error("it is not UTF-8")]
    NotText,
    #[error("line {0} is not of the form `NAME=value`")]
    NotAPair(usize),
    #[error("the value that begins in line {0} has no closing quote")]
    Unclosed(usize),
    #[error("there is something after the closing quote in line {0}")]
    AfterQuote(usize),
    #[error("the value in line {0} is empty")]
    Empty(usize),
    #[error("line {line} gives `{name}` a second time")]
    Twice { line: usize, name: String },
}

pub fn read(path: &Path) -> Result<Vec<(String, SecretValue)>, EnvFileError> {
    let bytes =
        read_file(path).map_err(|error| EnvFileError::Read(error.to_string().to_lowercase()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| EnvFileError::NotText)?;
    parse(text)
}

fn parse(text: &str) -> Result<Vec<(String, SecretValue)>, EnvFileError> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    let mut found: Vec<(String, SecretValue)> = Vec::new();
    while !rest.is_empty() {
        let (this, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let content = this.trim();
        if content.is_empty() || content.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let content = this.trim_start();
        let content = content.strip_prefix("export ").unwrap_or(content);
        let (name, raw) = content.split_once('=').ok_or(EnvFileError::NotAPair(line))?;
        let name = name.trim();
        if !is_name(name) {
            return Err(EnvFileError::NotAPair(line));
        }
        let value = raw.trim_start_matches([' ', '\t']);
        let (value, lines, next) = match value.chars().next() {
            // The value may go on in the next lines.
            Some(quote @ ('"' | '\'')) => {
                let start = rest.len() - after.len() - usize::from(this.len() < rest.len());
                let start = start - value.len() + 1;
                quoted(&rest[start..], quote, line)?
            }
            _ => (plain(raw).to_owned(), 1, after),
        };
        if value.is_empty() {
            return Err(EnvFileError::Empty(line));
        }
        if found.iter().any(|(known, _)| known == name) {
            return Err(EnvFileError::Twice { line, name: name.to_owned() });
        }
        found.push((name.to_owned(), SecretValue::new(value.into_bytes())));
        (rest, line) = (next, line + lines);
    }
    Ok(found)
}

/// A value without quotes, up to a comment.
fn plain(value: &str) -> &str {
    let comment = [" #", "\t#"].iter().filter_map(|mark| value.find(mark)).min();
    value[..comment.unwrap_or(value.len())].trim()
}

/// The value up to its closing quote, how many lines it takes, and what follows them.
fn quoted(text: &str, quote: char, line: usize) -> Result<(String, usize, &str), EnvFileError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    let end = loop {
        let (at, c) = chars.next().ok_or(EnvFileError::Unclosed(line))?;
        match c {
            c if c == quote => break at + 1,
            '\\' if quote == '"' => match chars.next().ok_or(EnvFileError::Unclosed(line))?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    };
    let lines = text[..end].matches('\n').count();
    let (tail, next) = text[end..].split_once('\n').unwrap_or((&text[end..], ""));
    let tail = tail.trim();
    if !tail.is_empty() && !tail.starts_with('#') {
        return Err(EnvFileError::AfterQuote(line + lines));
    }
    Ok((value, lines + 1, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
        let text_of = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
        Ok(parse(text)?.iter().map(|(name, value)| (name.clone(), text_of(value))).collect())
    }

    #[test]
    fn values_are_what_they_look_like() {
        let text = "# comment\n\nA=plain\nexport B = pa$$word # why\r\nC='#\"\\n$X' # c\nD=\"l1\\nl2\\\"\"\n\
                    E=\"first\nsecond\"\nF=a#b\nG=h=i\n  H='it'";
        let expected = [
            ("A", "plain"),
            ("B", "pa$$word"),
            ("C", "#\"\\n$X"),
            ("D", "l1\nl2\""),
            ("E", "first\nsecond"),
            ("F", "a#b"),
            ("G", "h=i"),
            ("H", "it"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(parsed(text), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line() {
        let table = [
            ("A=1\nsecret-value\n", EnvFileError::NotAPair(2)),
            ("A=\"1\n2", EnvFileError::Unclosed(1)),
            ("A='1\n2' x", EnvFileError::AfterQuote(2)),
            ("A='1\n2'\nB=", EnvFileError::Empty(3)),
            ("A=1\nA=2", EnvFileError::Twice { line: 2, name: "A".into() }),
            ("A B=1", EnvFileError::NotAPair(1)),
            ("A= # c", EnvFileError::Empty(1)),
        ];
        for (text, expected) in table {
            assert_eq!(parsed(text), Err(expected), "{text}");
        }
    }
}
