//! Steps: which kind each one is.

use std::rc::Rc;

use super::Refusal;
use super::kinds::{get, in_parallel, load_var, put, run, set_pipeline, steps, tried};
use super::modifiers::modifiers;
use super::task::task;
use crate::fields::{Fields, list_of};
use crate::node::{Node, Value};
use crate::plan::{Action, Do, Step};
use crate::problem::{Problem, Problems};
use crate::suggest::did_you_mean;

const KINDS: [&str; 9] =
    ["task", "get", "put", "do", "in_parallel", "try", "load_var", "set_pipeline", "run"];

pub fn step(node: &Rc<Node>, problems: &mut Problems) -> Option<Step> {
    let mut fields = Fields::new(node, "a step", problems)?;
    if fields.has("aggregate") {
        let problem = Problem::new(node.mark, "`aggregate` was removed in Concourse 7");
        problems.add(problem.help("write `in_parallel`, which takes the same list of steps"));
        return None;
    }
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
    let kind = match kinds.as_slice() {
        [kind] => *kind,
        [] => {
            unknown_kind(node, problems);
            return None;
        }
        several => {
            let message = format!("a step is one of {}", list_of(several));
            problems.add(Problem::new(node.mark, message).help("split it into several steps"));
            return None;
        }
    };
    fields.call(match kind {
        "task" => "a `task` step",
        "get" => "a `get` step",
        "put" => "a `put` step",
        "do" => "a `do` step",
        "in_parallel" => "an `in_parallel` step",
        "try" => "a `try` step",
        "load_var" => "a `load_var` step",
        "set_pipeline" => "a `set_pipeline` step",
        _ => "a `run` step",
    });
    let mut refusal = Refusal::default();
    let action = match kind {
        "task" => {
            let task = task(&mut fields, node, &mut refusal, problems);
            Some(Action::Task(Box::new(task)))
        }
        "get" => Some(Action::Get(get(&mut fields, problems))),
        "put" => Some(Action::Put(put(&mut fields, problems))),
        "do" => Some(Action::Do(Do { r#do: steps(&mut fields, "do", problems) })),
        "in_parallel" => in_parallel(&mut fields, problems),
        "try" => Some(Action::Try(tried(&mut fields, problems))),
        "load_var" => Some(Action::LoadVar(load_var(&mut fields, &mut refusal, problems))),
        "set_pipeline" => Some(Action::SetPipeline(set_pipeline(&mut fields, problems))),
        _ => Some(Action::Run(run(&mut fields, &mut refusal, problems))),
    };
    let has_own_timeout = matches!(kind, "task" | "get" | "put" | "run");
    let modifiers = modifiers(&mut fields, has_own_timeout, &mut refusal, problems);
    fields.finish(problems);
    Some(Step { action: action?, modifiers, refused: refusal.0 })
}

fn unknown_kind(node: &Node, problems: &mut Problems) {
    let Value::Map(entries) = &node.value else { return };
    let hint = entries
        .iter()
        .filter(|entry| !entry.from_var)
        .map(|entry| (entry, did_you_mean(&entry.key, KINDS)))
        .find(|(_, hint)| !hint.is_empty());
    let help = format!("a step has one of {}", list_of(&KINDS));
    problems.add(match hint {
        Some((entry, hint)) => {
            Problem::new(entry.mark, format!("unknown step `{}`{hint}", entry.key)).help(help)
        }
        None => Problem::new(node.mark, "a step that does nothing").help(help),
    });
}
