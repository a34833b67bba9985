//! References to variables in a text: `((name))`.
//!
//! The grammar is Concourse's (`vars/template.go`): letters, digits and `-_/.:@"` between the
//! parentheses, and no blanks. So what a shell calculates, such as `$(( n - 1 ))`, is text. Our own
//! `((name || default))` is the one form with blanks.

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

impl<'a> Reference<'a> {
    /// The name of a variable of the pipeline itself, whose value is known when a step runs.
    pub fn local(&self) -> Option<&'a str> {
        self.name.strip_prefix(".:")
    }

    /// Whether the text is nothing but the reference.
    pub fn is_all_of(&self, text: &str) -> bool {
        self.start == 0 && self.end == text.len()
    }

    /// The name and the fields. Quotes keep the points of a name.
    pub fn path(&self) -> Vec<String> {
        path(self.name)
    }
}

/// Whether a text refers to variables whose values are known no earlier than a step runs.
pub fn has_local(text: &str) -> bool {
    references(text).any(|reference| reference.local().is_some())
}

/// `name.field`, in which quotes keep points.
pub fn path(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in name.chars() {
        match (c, parts.last_mut()) {
            ('"', _) => quoted = !quoted,
            ('.', _) if !quoted => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
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
    fn quotes_keep_points() {
        assert_eq!(path("a.b"), ["a", "b"]);
        assert_eq!(path("a.\"b.c\""), ["a", "b.c"]);
        assert_eq!(path("\"a.b\".c"), ["a.b", "c"]);
        assert_eq!(path("source:a.b"), ["source:a", "b"]);
    }
}
