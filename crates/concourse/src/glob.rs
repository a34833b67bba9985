//! Names with wildcards.

use globset::GlobBuilder;

/// Whose rules a glob follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Globs {
    /// Those of `passed`, Go's `path.Match`: `*` and `?` stop at a slash, and braces are themselves.
    Passed,
    /// Those of `groups`, of `gobwas/glob`: `{a,b}` too.
    Groups,
}

impl Globs {
    /// The names that match. A glob that is none matches nothing.
    pub fn matching<'a>(self, glob: &str, names: &[&'a str]) -> Vec<&'a str> {
        if !glob.contains(['*', '?', '[', '\\', '{']) {
            return names.iter().copied().filter(|name| *name == glob).collect();
        }
        let escaped;
        let glob = match self {
            Self::Groups => glob,
            Self::Passed => {
                escaped = glob.replace('{', "[{]").replace('}', "[}]");
                &escaped
            }
        };
        let built = GlobBuilder::new(glob)
            .literal_separator(self == Self::Passed)
            .backslash_escape(true)
            .build();
        let Ok(built) = built else { return Vec::new() };
        let matcher = built.compile_matcher();
        names.iter().copied().filter(|name| matcher.is_match(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_those_of_concourse() {
        let names = ["unit", "unit-a", "lvl-1", "lvl-2", "a/b", "{x}"];
        for (globs, glob, expected) in [
            (Globs::Passed, "unit", &["unit"][..]),
            (Globs::Passed, "unit*", &["unit", "unit-a"]),
            (Globs::Passed, "lvl-?", &["lvl-1", "lvl-2"]),
            (Globs::Passed, "lvl-[^1]", &["lvl-2"]),
            (Globs::Passed, "*", &["unit", "unit-a", "lvl-1", "lvl-2", "{x}"]),
            (Globs::Passed, "{x}", &["{x}"]),
            (Globs::Passed, "lvl-[", &[]),
            (Globs::Groups, "*", &names),
            (Globs::Groups, "{unit,lvl-1}", &["unit", "lvl-1"]),
            (Globs::Groups, "lvl-[1-2]", &["lvl-1", "lvl-2"]),
            (Globs::Groups, "none*", &[]),
        ] {
            assert_eq!(globs.matching(glob, &names), expected, "{globs:?} {glob}");
        }
    }
}
