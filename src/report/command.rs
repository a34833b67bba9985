//! A command as one line of text.

use super::label::{escape_into, shorten};

/// Longest command in a start line, in terminal columns.
const MAX_COLUMNS: usize = 120;

/// The command as one would type it, on one line that fits a screen.
///
/// Words are quoted where a shell would need it; control characters are shown escaped and a long
/// command is cut, so the text is for reading and not always for running.
pub fn one_line(command: &[String]) -> String {
    let mut line = String::new();
    for word in command {
        // A script of a megabyte need not be quoted to its end to be cut.
        if line.len() > MAX_COLUMNS * 4 {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        quote_into(&mut line, word);
    }
    shorten(&line, MAX_COLUMNS)
}

fn quote_into(line: &mut String, word: &str) {
    if !word.is_empty() && word.chars().all(is_bare) {
        line.push_str(word);
        return;
    }
    line.push('\'');
    for c in word.chars().take(MAX_COLUMNS * 4) {
        match c {
            '\'' => line.push_str(r"'\''"),
            c => escape_into(line, c),
        }
    }
    line.push('\'');
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "%+,-./:=@_^".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        one_line(&words)
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(line(&["make", "-j2", "CC=gcc"]), "make -j2 CC=gcc");
        assert_eq!(line(&["sh", "-c", "a && b"]), "sh -c 'a && b'");
        assert_eq!(line(&["echo", "", "it's"]), r"echo '' 'it'\''s'");
    }

    #[test]
    fn a_script_stays_on_one_line() {
        assert_eq!(line(&["sh", "-c", "a\n\tb\x1b"]), r"sh -c 'a\n\tb\u{1b}'");
    }

    #[test]
    fn a_long_command_is_cut() {
        let text = line(&["echo", &"x".repeat(1_000_000)]);
        assert_eq!(text.len(), MAX_COLUMNS);
        assert!(text.ends_with("xxx..."), "{text}");
    }
}
