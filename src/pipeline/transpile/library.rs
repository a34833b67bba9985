//! The functions that steps are made of, as far as a pipeline uses them.

use std::collections::HashSet;

/// The sources, in the order in which a reader wants them.
const SOURCES: [&str; 13] = [
    include_str!("../../../js/plan/jobs.ts"),
    include_str!("../../../js/plan/steps.ts"),
    include_str!("../../../js/plan/task.ts"),
    include_str!("../../../js/plan/files.ts"),
    include_str!("../../../js/plan/config.ts"),
    include_str!("../../../js/plan/resources.ts"),
    include_str!("../../../js/plan/resource_types.ts"),
    include_str!("../../../js/plan/modifiers.ts"),
    include_str!("../../../js/plan/outcomes.ts"),
    include_str!("../../../js/plan/slots.ts"),
    include_str!("../../../js/plan/clock.ts"),
    include_str!("../../../js/plan/caches.ts"),
    include_str!("../../../js/plan/vars.ts"),
];
const TYPES: &str = include_str!("../../../js/plan/types.ts");

/// What `code` refers to, and what that refers to, as one piece of a module.
pub fn used_by(code: &str) -> String {
    let all: Vec<Declaration> = SOURCES.into_iter().chain([TYPES]).flat_map(declarations).collect();
    let mut wanted: HashSet<&str> = HashSet::new();
    let mut open = words(code);
    while let Some(word) = open.pop() {
        for declaration in all.iter().filter(|declaration| declaration.name == word) {
            if wanted.insert(declaration.name) {
                open.extend(words(&declaration.text));
            }
        }
    }
    let used = all.into_iter().filter(|declaration| wanted.contains(declaration.name));
    used.map(|declaration| declaration.text).collect::<Vec<_>>().join("\n")
}

/// A function, a type or a value of a module, with the comment before it.
struct Declaration {
    name: &'static str,
    text: String,
}

/// The sources are formatted: what starts at the margin is a declaration or its comment.
fn declarations(source: &'static str) -> Vec<Declaration> {
    let mut found: Vec<Declaration> = Vec::new();
    let mut comment = String::new();
    let mut open = false;
    for line in source.lines() {
        if line.is_empty() {
            // One in the middle of a function, or one after the comment on the whole file.
            if !open {
                comment.clear();
            }
            continue;
        }
        if let Some(name) = declared(line) {
            found.push(Declaration { name, text: std::mem::take(&mut comment) });
            open = true;
        } else if line.starts_with("import ") {
            open = false;
            continue;
        } else if line.starts_with("/**") || line.starts_with("//") {
            open = false;
        }
        let text = match (open, found.last_mut()) {
            (true, Some(declaration)) => &mut declaration.text,
            _ => &mut comment,
        };
        text.push_str(line.strip_prefix("export ").unwrap_or(line));
        text.push('\n');
    }
    found
}

/// The name that a line declares.
fn declared(line: &'static str) -> Option<&'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (kind, rest) = line.split_once(' ')?;
    let is_one = ["function", "const", "class", "interface", "type"].contains(&kind);
    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
    (is_one && end > 0).then(|| &rest[..end])
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Names that may refer to a declaration: those of code, and there neither `.name` nor `name:`. One
/// too many only makes the result longer.
fn words(code: &str) -> Vec<String> {
    let code = without_text(code);
    let mut found = Vec::new();
    let mut rest = code.as_str();
    let mut before = "";
    while let Some(start) = rest.find(is_name) {
        let len = rest[start..].find(|c| !is_name(c)).unwrap_or(rest.len() - start);
        let (word, after) = (&rest[start..start + len], &rest[start + len..]);
        before = if start > 0 { &rest[..start] } else { before };
        let is_field = before.ends_with('.') && !before.ends_with("...");
        let is_key = after.starts_with(':') || after.starts_with("?:");
        if !is_field && !is_key {
            found.push(word.to_owned());
        }
        before = "";
        rest = after;
    }
    found
}

/// The code without comments and texts, but with what is between `${` and `}` in these.
fn without_text(code: &str) -> String {
    let mut rest = String::new();
    let mut chars = code.chars().peekable();
    // Each template that is open, by how many braces are open in its `${`.
    let mut templates: Vec<u32> = Vec::new();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                let mut last = ' ';
                while let Some(c) = chars.next()
                    && (last, c) != ('*', '/')
                {
                    last = c;
                }
            }
            ('"' | '\'' | '`', _) => skip_text(&mut chars, c, &mut templates),
            ('}', _) if templates.last() == Some(&0) => {
                templates.pop();
                skip_text(&mut chars, '`', &mut templates);
            }
            _ => {
                if let Some(open) = templates.last_mut() {
                    match c {
                        '{' => *open += 1,
                        '}' => *open -= 1,
                        _ => {}
                    }
                }
                rest.push(c);
                continue;
            }
        }
        rest.push(' ');
    }
    rest
}

/// Goes to the end of a text, or to the code in it.
fn skip_text(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    end: char,
    templates: &mut Vec<u32>,
) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '$' if end == '`' && chars.next_if_eq(&'{').is_some() => {
                templates.push(0);
                return;
            }
            c if c == end => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_used_is_there() {
        let library = used_by("sequence([])");
        assert!(library.contains("function sequence("), "{library}");
        assert!(library.contains("function caught("), "{library}");
        assert!(library.contains("interface Scope {"), "{library}");
        for absent in ["function task(", "function get(", "inParallel", "import ", "export "] {
            assert!(!library.contains(absent), "{absent} in {library}");
        }
    }

    #[test]
    fn fields_keys_texts_and_comments_are_no_references() {
        assert_eq!(words("a.b, c: d, ...e, f?: g // in \"h\""), ["a", "d", "e", "g"]);
        assert_eq!(words(r#"a("b \" c", d, 'e', f)"#), ["a", "d", "f"]);
        assert_eq!(words("`a ${b({ c: `${d} e` })} f` + g /* h */"), ["b", "d", "g"]);
        assert_eq!(words("/** x */\n * 1\nz"), ["1", "z"]);
    }

    #[test]
    fn every_declaration_is_found_and_no_name_is_used_twice() {
        let mut names = HashSet::new();
        for source in SOURCES.into_iter().chain([TYPES]) {
            for declaration in declarations(source) {
                assert!(names.insert(declaration.name), "{} is declared twice", declaration.name);
            }
        }
        for name in ["runJobs", "StepFailure", "IN_DIRECTORY", "Slots", "Task", "checkedConfig"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
