//! Variables of git's configuration.

use crate::error::{ResourceError, printable};

/// One variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// `section.key` or `section.subsection.key`.
    pub name: String,
    pub value: String,
}

impl Variable {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// One that the user gives.
    pub fn parse(name: String, value: String) -> Result<Self, ResourceError> {
        let parts = name.split_once('.').zip(name.rsplit_once('.'));
        let is_word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_valid = parts.is_some_and(|((section, _), (_, key))| {
            is_word(section) && is_word(key) && key.as_bytes()[0].is_ascii_alphabetic()
        });
        if !is_valid || name.contains(['\n', '\0']) || value.contains('\0') {
            return Err(ResourceError::failed(format!(
                "`git_config` has `{}`, which is no name of a variable such as `http.proxy`",
                printable(&name)
            )));
        }
        Ok(Self { name, value })
    }

    /// The lines of a configuration file that set it (git-config(1), "Syntax").
    pub fn lines(&self) -> String {
        let (section, rest) = self.name.split_once('.').unwrap_or((&self.name, ""));
        let (subsection, key) = match rest.rsplit_once('.') {
            Some((subsection, key)) => (Some(subsection), key),
            None => (None, rest),
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let header = match subsection {
            Some(subsection) => format!("[{section} \"{}\"]", quoted(subsection)),
            None => format!("[{section}]"),
        };
        let value = quoted(&self.value).replace('\n', "\\n").replace('\t', "\\t");
        format!("{header}\n\t{key} = \"{value}\"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_section_and_a_key() {
        for name in ["core.pager", "http.https://a.b/c.proxy", "a.b c.d"] {
            assert!(Variable::parse(name.into(), "x".into()).is_ok(), "{name}");
        }
        for name in ["", "core", "core.", ".pager", "core.1a", "co re.pager", "a.b\nc.d"] {
            assert!(Variable::parse(name.into(), "x".into()).is_err(), "{name}");
        }
    }
}
