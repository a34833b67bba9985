//! The names that something of a pipeline may refer to.

use std::collections::HashSet;
use std::rc::Rc;

use crate::fields::list_of;
use crate::glob::Globs;
use crate::node::Node;
use crate::problem::{Problem, Problems};
use crate::suggest::did_you_mean;

pub struct Names<'a> {
    what: &'static str,
    /// Those that messages may repeat: not from a variable.
    list: Vec<&'a str>,
    all: Vec<&'a str>,
    set: HashSet<&'a str>,
    from_var: HashSet<String>,
}

impl<'a> Names<'a> {
    /// `entries` are the list in the document.
    pub fn new(
        what: &'static str,
        names: impl Iterator<Item = &'a str>,
        entries: &[Rc<Node>],
    ) -> Self {
        let from_var: HashSet<String> = entries
            .iter()
            .filter_map(|entry| entry.get("name").filter(|name| name.from_var)?.scalar())
            .collect();
        let all: Vec<&str> = names.collect();
        let set = all.iter().copied().collect();
        let list = all.iter().copied().filter(|name| !from_var.contains(*name)).collect();
        Self { what, list, all, set, from_var }
    }

    /// A name as messages may show it.
    pub fn shown(&self, name: &'a str) -> &'a str {
        if self.from_var.contains(name) { "((…))" } else { name }
    }

    pub fn need(&self, node: &Node, problems: &mut Problems) {
        let Some(name) = node.scalar() else { return };
        if self.set.contains(name.as_str()) || problems.is_full() || node.missing {
            return;
        }
        let what = self.what;
        let help = match self.list.as_slice() {
            [] => format!("the pipeline has no {what}s: add it to `{what}s`"),
            list if list.len() > 20 => format!("add it to `{what}s`"),
            list => format!("the pipeline has {}", list_of(list)),
        };
        let message = match node.from_var {
            true => format!("unknown {what}, named by a variable"),
            false => {
                let hint = did_you_mean(&name, self.list.iter().copied());
                format!("unknown {what} `{name}`{hint}")
            }
        };
        problems.add(Problem::new(node.mark, message).help(help));
    }

    /// Needs a name, or one at least that matches a glob. Returns all that there are.
    pub fn matching(&self, node: &Node, globs: Globs, problems: &mut Problems) -> Vec<&'a str> {
        let Some(text) = node.scalar().filter(|_| !node.missing) else { return Vec::new() };
        if let Some(name) = self.set.get(text.as_str()) {
            return vec![name];
        }
        let found = globs.matching(&text, &self.all);
        if found.is_empty() {
            self.need(node, problems);
        }
        found
    }
}
