//! From the text of a YAML document to its tree.
//!
//! All problems of a file are reported at once, with their places. serde's own way ends at the first one and
//! knows no place for what is missing, so a tree comes in between whose nodes know their places.
//! `granit-parser` is the layer of events below `serde-saphyr`. Aliases share nodes, and their sizes are
//! counted before anything follows them. `yaml_serde`, the continuation of `serde_yaml`, has no places for
//! single nodes and rests on a translation of libyaml.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::node::{Entry, Mark, Node, Value};
use crate::problem::{Problem, Problems};

/// How many nodes a document may have, aliases counted as what they stand for.
const MOST_NODES: usize = 500_000;

/// How many bytes of text a document may have, aliases counted as what they stand for.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How deep lists and mappings may be nested.
const DEEPEST: usize = 100;

/// Reads a text with one document. Goes on after a duplicate key, ends at what is no YAML.
pub fn read(text: &str, problems: &mut Problems) -> Option<Rc<Node>> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    let mut reader = Reader {
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        total: Size { nodes: 0, bytes: 0 },
        problems,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let done = match next {
            Ok((Event::DocumentStart(..), span)) if reader.root.is_some() => {
                let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
                let problem = Problem::new(mark, "a second document starts here");
                reader.problems.warn(problem.help("only the first one is read: split the file"));
                break;
            }
            Ok((event, span)) => reader.event(event, span),
            Err(error) => Err(unreadable(&error, text)),
        };
        if let Err(problem) = done {
            reader.problems.add(problem);
            return None;
        }
    }
    let root = reader.root.take();
    if root.is_none() {
        problems.add(Problem::new(Mark { line: 1, column: 1 }, "the file is empty"));
    }
    root
}

/// A list or mapping that has begun.
struct Open {
    mark: Mark,
    anchor: usize,
    size: Size,
    content: Content,
}

/// How much of a document a node is, with all that is in it.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
}

const ONE: Size = Size { nodes: 1, bytes: 0 };

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(other.nodes),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

enum Content {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<Entry>,
        keys: Keys,
        key: Option<(String, Mark)>,
        /// Keys that came by `<<`.
        merged: HashSet<String>,
    },
}

/// The keys of a mapping, as a set once there are many.
#[derive(Default)]
struct Keys(HashSet<String>);

impl Keys {
    /// How many keys are found faster by looking at each.
    const FEW: usize = 16;

    /// Whether the key is new to a mapping that has these entries so far.
    fn insert(&mut self, key: &str, entries: &[Entry]) -> bool {
        if entries.len() < Self::FEW {
            return entries.iter().all(|entry| entry.key != key);
        }
        if self.0.is_empty() {
            self.0.extend(entries.iter().map(|entry| entry.key.clone()));
        }
        self.0.insert(key.to_owned())
    }
}

struct Reader<'a> {
    stack: Vec<Open>,
    /// Anchored nodes, and how much of a document each one stands for.
    anchors: HashMap<usize, (Rc<Node>, Size)>,
    root: Option<Rc<Node>>,
    total: Size,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                let size = Size { nodes: 1, bytes: text.len() };
                self.count(mark, size)?;
                self.complete(Node::new(mark, value), anchor, size)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(mark, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    keys: Keys::default(),
                    key: None,
                    merged: HashSet::new(),
                };
                self.open(mark, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => {
                    let value = match open.content {
                        Content::List(items) => Value::List(items),
                        Content::Map { entries, .. } => Value::Map(entries),
                    };
                    self.complete(Node::new(open.mark, value), open.anchor, open.size)
                }
                None => Ok(()),
            },
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(Problem::new(mark, "an alias stands inside of what it refers to"));
                };
                self.count(mark, size)?;
                self.place(mark, node, size)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, mark: Mark, anchor: usize, content: Content) -> Result<(), Problem> {
        if self.stack.len() >= DEEPEST {
            return Err(too_deep(mark));
        }
        self.stack.push(Open { mark, anchor, size: ONE, content });
        self.count(mark, ONE)
    }

    fn complete(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Problem> {
        let mark = node.mark;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.place(mark, node, size)
    }

    fn count(&mut self, mark: Mark, size: Size) -> Result<(), Problem> {
        self.total = self.total.plus(size);
        let most = match self.total {
            Size { nodes, .. } if nodes > MOST_NODES => Some(format!("{MOST_NODES} nodes")),
            Size { bytes, .. } if bytes > MOST_BYTES => Some(format!("{MOST_BYTES} bytes")),
            _ => None,
        };
        if let Some(most) = most {
            let message = format!("the document has more than {most}");
            return Err(Problem::new(mark, message)
                .help("an alias counts as all that it stands for: use fewer of them"));
        }
        Ok(())
    }

    /// Puts a node where the document has it.
    fn place(&mut self, mark: Mark, node: Rc<Node>, size: Size) -> Result<(), Problem> {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size = open.size.plus(size);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, keys, key, merged } => match key.take() {
                None => match node.scalar() {
                    Some(text) => *key = Some((text, mark)),
                    None => return Err(wrong_key(mark, &node)),
                },
                Some((text, at)) if text == "<<" => {
                    merge(at, &node, entries, keys, merged, self.problems);
                }
                Some((text, at)) => {
                    let is_new = keys.insert(&text, entries);
                    if !is_new && !merged.remove(&text) {
                        let problem = Problem::new(at, format!("duplicate key `{text}`"));
                        let help = "remove one of the two; only the last one counts";
                        self.problems.warn(problem.help(help));
                    }
                    put(
                        entries,
                        Entry { key: text, from_var: false, mark: at, value: node },
                        is_new,
                    );
                }
            },
        }
        Ok(())
    }
}

/// Adds an entry, or puts it in the place of the one with its key.
fn put(entries: &mut Vec<Entry>, entry: Entry, is_new: bool) {
    if is_new {
        return entries.push(entry);
    }
    if let Some(other) = entries.iter_mut().find(|other| other.key == entry.key) {
        *other = entry;
    }
}

/// Adds the entries of other mappings. As in Concourse, whose YAML library goes from top to bottom, they win over
/// what stands before the `<<`; of a list of mappings the first one wins.
fn merge(
    at: Mark,
    source: &Node,
    entries: &mut Vec<Entry>,
    keys: &mut Keys,
    merged: &mut HashSet<String>,
    problems: &mut Problems,
) {
    let sources = match &source.value {
        Value::List(items) => items.iter().rev().map(|item| &**item).collect(),
        _ => vec![source],
    };
    for source in sources {
        let Value::Map(others) = &source.value else {
            let message = format!("`<<` takes a mapping, got {}", source.kind());
            problems.add(Problem::new(source.mark, message));
            continue;
        };
        for other in others {
            let is_new = keys.insert(&other.key, entries);
            if merged.insert(other.key.clone()) && !is_new && !problems.is_full_of_warnings() {
                let message =
                    format!("`<<` replaces the field `{}` that stands before it", other.key);
                problems.warn(
                    Problem::new(at, message).help("write `<<` first, so that the field wins"),
                );
            }
            put(entries, other.clone(), is_new);
        }
    }
}

/// A key that is no text. `{{name}}` is a mapping as the key of a mapping.
fn wrong_key(mark: Mark, node: &Node) -> Problem {
    if let Value::Map(entries) = &node.value
        && let [Entry { key, value, .. }] = entries.as_slice()
        && matches!(value.value, Value::Null)
    {
        let message = format!("`{{{{{key}}}}}` is how variables were written until Concourse 5");
        return Problem::new(mark, message).help(format!("write `(({key}))`"));
    }
    Problem::new(mark, format!("{} as a key", node.kind()))
        .help("keys are text; put `((…))` and `{…}` into quotes")
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    match tag.and_then(Tag::core_suffix) {
        Some("str") => Value::Text(text.to_owned()),
        _ if style == ScalarStyle::Plain => Node::plain(text),
        _ => Value::Text(text.to_owned()),
    }
}

fn unreadable(error: &ScanError, text: &str) -> Problem {
    let mark = Mark { line: error.marker().line(), column: error.marker().col() + 1 };
    // A scalar that goes on over several lines is told at its beginning.
    for line in mark.line..mark.line + 2 {
        let content = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let indent = &content[..content.len() - content.trim_start().len()];
        if let Some(at) = indent.chars().position(|c| c == '\t') {
            return Problem::new(Mark { line, column: at + 1 }, "a tab in the indentation")
                .help("YAML is indented with spaces");
        }
    }
    let reason = error.info();
    if reason.contains("nesting") || reason.contains("recursion") {
        return too_deep(mark);
    }
    Problem::new(mark, format!("not YAML: {}", reason.to_lowercase()))
}

fn too_deep(mark: Mark) -> Problem {
    Problem::new(mark, format!("lists and mappings are nested more than {DEEPEST} levels deep"))
}
