//! Words for what would have been right.

/// "`a`, `b` or `c`".
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// ", did you mean `name`?", if one of the known names is close.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    match similar::get_close_matches(name, known, 1, 0.7).first() {
        Some(close) => format!(", did you mean `{close}`?"),
        None => String::new(),
    }
}
