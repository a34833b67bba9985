//! References to variables in a text: `((name))`.
//!
//! The grammar is Concourse's (`vars/template.go` and `vars/variables.go` of version 8.3): letters, digits and
//! `-_/.:@"` between the parentheses, and no blanks. So what a shell calculates, such as `$(( n - 1 ))`, is text.
//! Our own `((name || default))` is the one form with blanks.

/// A reference, and where it stands.
#[derive(Debug, PartialEq)]
pub struct Reference<'a> {
    /// Where it starts in the text, in bytes.
    pub start: usize,
    /// Where the text goes on, in bytes.
    pub end: usize,
    /// Such as `name.field`, `source:name` or `.:name`.
    pub name: &'a str,
    pub default: Option<&'a str>,
}

/// The references in a text, from left to right.
pub fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(found) = text[from..].find("((") {
            let start = from + found;
            if let Some(reference) = at(text, start) {
                from = reference.end;
                return Some(reference);
            }
            from = start + 1;
        }
        None
    })
}

/// The parts of a reference.
#[derive(Debug, PartialEq)]
pub struct Parts<'a> {
    /// What stands before the first `:` that is not in quotes; `.` for variables of the pipeline itself.
    pub source: Option<&'a str>,
    /// The name and the fields; never empty.
    pub path: Vec<String>,
}

impl<'a> Reference<'a> {
    /// The name of a variable of the pipeline itself, whose value is known when a step runs.
    pub fn local(&self) -> Option<&'a str> {
        self.name.strip_prefix(".:")
    }

    /// Whether the text is nothing but the reference.
    pub fn is_all_of(&self, text: &str) -> bool {
        self.start == 0 && self.end == text.len()
    }

    /// The source, the name and the fields; or what is wrong with them, as Concourse refuses it too.
    pub fn parts(&self) -> Result<Parts<'a>, &'static str> {
        let (source, rest) = match unquoted(self.name, ':') {
            Some(at) => (Some(&self.name[..at]), &self.name[at + 1..]),
            None => (None, self.name),
        };
        if source.is_some_and(|source| source.contains('"')) {
            return Err("quotes around a source");
        }
        let path = path(rest);
        match path.iter().any(String::is_empty) {
            true => Err("a part without a name"),
            false => Ok(Parts { source: source.filter(|source| !source.is_empty()), path }),
        }
    }
}

/// Whether a text refers to variables whose values are known no earlier than a step runs.
pub fn has_local(text: &str) -> bool {
    text.contains("((.:") && references(text).any(|reference| reference.local().is_some())
}

/// `name.field`, in which quotes keep points.
pub fn path(name: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(at) = unquoted(rest, '.') {
        parts.push(rest[..at].replace('"', ""));
        rest = &rest[at + 1..];
    }
    parts.push(rest.replace('"', ""));
    parts
}

/// Where a character stands outside of quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        if c == wanted && !quoted {
            return Some(at);
        }
    }
    None
}

/// The reference whose parentheses open here.
fn at(text: &str, start: usize) -> Option<Reference<'_>> {
    let inner = &text[start + 2..];
    let len = inner.find(|c| !belongs(c)).unwrap_or(inner.len());
    let name = &inner[..len];
    let rest = &inner[len..];
    if name.is_empty() {
        return None;
    }
    let after = start + 2 + len;
    if rest.starts_with("))") {
        return Some(Reference { start, end: after + 2, name, default: None });
    }
    // A shell's `$((a || b))` is no variable with a default.
    if text[..start].ends_with('$') {
        return None;
    }
    let default = rest.trim_start_matches(' ').strip_prefix("||")?;
    let (default, _) = default.split_once("))")?;
    let end = text.len() - rest.len() + rest.find("))")? + 2;
    Some(Reference { start, end, name, default: Some(default.trim()) })
}

fn belongs(c: char) -> bool {
    c.is_ascii_digit() || c.is_alphabetic() || "_-/.:@\"".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        references(text).map(|reference| reference.name).collect()
    }

    #[test]
    fn the_grammar_is_concourses() {
        assert_eq!(names("((a)) ((b.c)) ((a.\"b.c\")) ((\"a.b\".c))").len(), 4);
        assert_eq!(names("((vault:path/to.field)) ((.:local.x)) ((größe))").len(), 3);
        assert_eq!(names("(((a)) ((b)))"), ["a", "b"]);
        assert_eq!(names("((n--)) ((1))"), ["n--", "1"]);
        for text in [
            "$(( n )) $(( n-1 )) (( n-- )) $(( \"${i}\" + 1 ))",
            "$((1 + 2)) $((n+1)) $((a || b)) (()) ((",
            "((a) ) ((a b)) ((a\n)) (( || b)) ((a || b)",
        ] {
            assert_eq!(names(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_default_has_blanks() {
        let found: Vec<_> = references("x((a || b c))y((d||))").collect();
        assert_eq!(found[0], Reference { start: 1, end: 13, name: "a", default: Some("b c") });
        assert_eq!((found[1].name, found[1].default), ("d", Some("")));
    }

    #[test]
    fn parts_are_those_of_concourse() {
        let parts = |name: &str| {
            let reference = Reference { start: 0, end: 0, name, default: None };
            reference
                .parts()
                .map(|parts| (parts.source.unwrap_or("").to_owned(), parts.path.join("|")))
        };
        let found = |source: &str, path: &str| Ok((source.to_owned(), path.to_owned()));
        for (name, expected) in [
            ("a.b", found("", "a|b")),
            ("a.\"b.c\"", found("", "a|b.c")),
            ("\"a.b\".c", found("", "a.b|c")),
            ("vault:a/b.c", found("vault", "a/b|c")),
            ("vault:a:b", found("vault", "a:b")),
            ("\"a:b\"", found("", "a:b")),
            (".:get.commit", found(".", "get|commit")),
            (":a", found("", "a")),
            ("a..b", Err("a part without a name")),
            ("a.", Err("a part without a name")),
            ("vault:", Err("a part without a name")),
            ("\"\"", Err("a part without a name")),
            ("\"v\":a", Err("quotes around a source")),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
    }
}
