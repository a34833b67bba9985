//! Steps and their modifiers.

use std::rc::Rc;

use super::config::{container_limits, task_config};
use super::notice;
use super::units::duration;
use crate::fields::{Fields, items, list_of, wrong};
use crate::json::Json;
use crate::node::{Node, Value};
use crate::plan::{
    Across, Action, Do, Get, InParallel, LoadVar, Modifiers, Parallel, Put, Step, Task, TaskAssert,
    Try, VarFormat,
};
use crate::problem::{Problem, Problems};
use crate::reference;
use crate::suggest::did_you_mean;

const KINDS: [&str; 8] =
    ["task", "get", "put", "do", "in_parallel", "try", "load_var", "set_pipeline"];

/// The most copies of a task: each one is a process of its own at the same time.
const MOST_COPIES: u32 = 10_000;

pub fn step(node: &Rc<Node>, notices: &mut Vec<String>, problems: &mut Problems) -> Option<Step> {
    let mut fields = Fields::new(node, "a step", problems)?;
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
    let action = match kind {
        "task" => task(&mut fields, node, problems).map(|task| Action::Task(Box::new(task))),
        "get" => Some(Action::Get(get(&mut fields, problems))),
        "put" => Some(Action::Put(put(&mut fields, problems))),
        "do" => Some(Action::Do(Do { r#do: steps(&mut fields, "do", notices, problems) })),
        "in_parallel" => in_parallel(&mut fields, notices, problems),
        "try" => Some(Action::Try(tried(&mut fields, notices, problems))),
        "load_var" => Some(Action::LoadVar(load_var(&mut fields, problems))),
        _ => {
            problems.add(
                Problem::new(node.mark, "`set_pipeline` cannot be run: nothing keeps pipelines")
                    .help("run the other pipeline with `ci run` of its file"),
            );
            return None;
        }
    };
    let modifiers = modifiers(&mut fields, notices, problems);
    fields.finish(problems);
    Some(Step { action: action?, modifiers })
}

fn unknown_kind(node: &Node, problems: &mut Problems) {
    let Value::Map(entries) = &node.value else { return };
    let hint = entries
        .iter()
        .map(|entry| (entry, did_you_mean(&entry.key, KINDS)))
        .find(|(_, hint)| !hint.is_empty());
    let help = format!("a step has one of {}", list_of(&KINDS[..7]));
    problems.add(match hint {
        Some((entry, hint)) => {
            Problem::new(entry.mark, format!("unknown step `{}`{hint}", entry.key)).help(help)
        }
        None => Problem::new(node.mark, "a step that does nothing").help(help),
    });
}

fn steps(
    fields: &mut Fields<'_>,
    name: &'static str,
    notices: &mut Vec<String>,
    problems: &mut Problems,
) -> Vec<Step> {
    fields.require(name, problems);
    fields.list(name, problems, |node, problems| step(node, notices, problems))
}

fn modifiers(
    fields: &mut Fields<'_>,
    notices: &mut Vec<String>,
    problems: &mut Problems,
) -> Modifiers {
    let across = fields.list("across", problems, across);
    for (index, variable) in across.iter().enumerate() {
        let same = |other: &Across| !other.var.is_empty() && other.var == variable.var;
        if let (true, Some(node)) = (across[..index].iter().any(same), fields.get("across")) {
            let message = format!("`across` has the variable `{}` twice", variable.var);
            problems.add(Problem::new(node.mark, message).help("give each variable its own name"));
        }
    }
    let mut hook = |name, problems: &mut Problems| {
        fields.get(name).and_then(|node| step(node, notices, problems)).map(Box::new)
    };
    let [ensure, on_success, on_failure, on_error, on_abort] =
        ["ensure", "on_success", "on_failure", "on_error", "on_abort"]
            .map(|name| hook(name, problems));
    let tags = fields.texts("tags", problems);
    if !tags.is_empty() {
        notice(notices, "`tags` are ignored: there is one worker");
    }
    Modifiers {
        across,
        fail_fast: fields.flag("fail_fast", problems),
        attempts: fields.count("attempts", problems),
        timeout: fields.get("timeout").and_then(|node| duration(node, problems)),
        ensure,
        on_success,
        on_failure,
        on_error,
        on_abort,
        tags,
    }
}

fn across(node: &Rc<Node>, problems: &mut Problems) -> Option<Across> {
    let mut fields = Fields::new(node, "a variable of `across`", problems)?;
    let var = fields.required_text("var", problems);
    let values = fields.require("values", problems).map(|node| match &node.value {
        Value::List(_) => node.to_json(),
        Value::Text(text) if reference::has_local(text) => node.to_json(),
        _ => wrong(node, "a list", problems).unwrap_or(Json::List(Vec::new())),
    });
    let is_all = fields
        .get("max_in_flight")
        .is_some_and(|node| matches!(&node.value, Value::Text(text) if text == "all"));
    let max_in_flight = match is_all {
        true => Some(Json::Text("all".to_owned())),
        false => fields.count("max_in_flight", problems).map(|count| Json::of(&count)),
    };
    fields.finish(problems);
    Some(Across { var, values: values?, max_in_flight })
}

fn task(fields: &mut Fields<'_>, node: &Node, problems: &mut Problems) -> Option<Task> {
    let config = fields.get("config").and_then(|node| task_config(node, problems));
    let file = fields.text("file", problems);
    let uri = fields.text("uri", problems);
    if let (Some(uri), Some(node)) = (&uri, fields.get("uri"))
        && !uri.starts_with("file://")
    {
        problems.add(
            Problem::new(node.mark, "a `uri` that is no file")
                .help("write `uri: file://artifact/task.yml`"),
        );
    }
    let sources = ["config", "file", "uri"].into_iter().filter(|name| fields.has(name)).count();
    if sources != 1 {
        let (message, help) = match sources {
            0 => (
                "a task has no `config` and no `file`",
                "say what to run: `config: { run: { path: … } }`",
            ),
            _ => ("a task has more than one of `config`, `file` and `uri`", "keep one of them"),
        };
        problems.add(Problem::new(node.mark, message).help(help));
    }
    Some(Task {
        task: fields.required_text("task", problems),
        config,
        file: file.or_else(|| uri.as_ref()?.strip_prefix("file://").map(str::to_owned)),
        uri,
        image: fields.text("image", problems),
        params: fields.scalars("params", problems),
        vars: fields.object("vars", problems),
        input_mapping: fields.names("input_mapping", problems),
        output_mapping: fields.names("output_mapping", problems),
        privileged: fields.flag("privileged", problems),
        container_limits: fields
            .get("container_limits")
            .and_then(|node| container_limits(node, problems)),
        parallelism: fields.count_up_to(MOST_COPIES, "parallelism", problems),
        assert: fields.get("assert").and_then(|node| task_assert(node, problems)),
    })
}

fn task_assert(node: &Node, problems: &mut Problems) -> Option<TaskAssert> {
    let mut fields = Fields::new(node, "the `assert` of a task", problems)?;
    let code = fields.get("code").and_then(|node| {
        let code = node.scalar().and_then(|text| text.parse().ok());
        code.or_else(|| wrong(node, "an exit code", problems))
    });
    let assert = TaskAssert {
        code,
        stdout: fields.text("stdout", problems),
        stderr: fields.text("stderr", problems),
    };
    fields.finish(problems);
    Some(assert)
}

fn get(fields: &mut Fields<'_>, problems: &mut Problems) -> Get {
    let version = fields.get("version");
    if let Some(node) = version {
        let known = match &node.value {
            Value::Text(text) => text == "latest" || text == "every" || node.from_var,
            Value::Map(_) => true,
            _ => false,
        };
        if !known {
            wrong::<()>(node, "`latest`, `every` or a version", problems);
        }
    }
    Get {
        get: fields.required_text("get", problems),
        resource: fields.text("resource", problems),
        params: fields.object("params", problems),
        version: version.map(|node| node.to_json()),
        passed: fields.texts("passed", problems),
        trigger: fields.flag("trigger", problems),
    }
}

fn put(fields: &mut Fields<'_>, problems: &mut Problems) -> Put {
    Put {
        put: fields.required_text("put", problems),
        resource: fields.text("resource", problems),
        params: fields.object("params", problems),
        get_params: fields.object("get_params", problems),
        inputs: fields.get("inputs").and_then(|node| match &node.value {
            Value::Text(text) if text == "all" || text == "detect" => Some(node.to_json()),
            Value::List(_) => Some(node.to_json()),
            _ => wrong(node, "`all`, `detect` or a list", problems),
        }),
        no_get: fields.flag("no_get", problems),
    }
}

fn in_parallel(
    fields: &mut Fields<'_>,
    notices: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<Action> {
    let node = fields.require("in_parallel", problems)?;
    let in_parallel = match &node.value {
        Value::List(nodes) => Parallel {
            steps: nodes.iter().filter_map(|node| step(node, notices, problems)).collect(),
            ..Parallel::default()
        },
        _ => {
            let mut fields = Fields::new(node, "`in_parallel`", problems)?;
            let parallel = Parallel {
                steps: steps(&mut fields, "steps", notices, problems),
                limit: fields.count("limit", problems),
                fail_fast: fields.flag("fail_fast", problems),
            };
            fields.finish(problems);
            parallel
        }
    };
    Some(Action::InParallel(InParallel { in_parallel }))
}

fn tried(fields: &mut Fields<'_>, notices: &mut Vec<String>, problems: &mut Problems) -> Try {
    let steps = match fields.require("try", problems) {
        Some(node) if matches!(node.value, Value::List(_)) => {
            items(node, problems).iter().filter_map(|node| step(node, notices, problems)).collect()
        }
        Some(node) => step(node, notices, problems).into_iter().collect(),
        None => Vec::new(),
    };
    Try { r#try: steps }
}

fn load_var(fields: &mut Fields<'_>, problems: &mut Problems) -> LoadVar {
    let formats = [
        ("json", VarFormat::Json),
        ("yaml", VarFormat::Yaml),
        ("yml", VarFormat::Yml),
        ("trim", VarFormat::Trim),
        ("raw", VarFormat::Raw),
    ];
    LoadVar {
        load_var: fields.required_text("load_var", problems),
        file: fields.required_text("file", problems),
        format: fields.word("format", &formats, problems),
        reveal: fields.flag("reveal", problems),
    }
}
