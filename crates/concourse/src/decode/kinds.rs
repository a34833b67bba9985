//! The kinds of steps that run no command of their own.

use std::rc::Rc;

use super::Refusal;
use super::config::container_limits;
use super::resource::version;
use super::step::step;
use crate::fields::{Fields, items, wrong};
use crate::json::Json;
use crate::node::{Node, Value};
use crate::plan::{
    Action, Get, InParallel, LoadVar, Parallel, Put, RunMessage, SetPipeline, Step, Try, VarFormat,
};
use crate::problem::{Problem, Problems};

pub fn get(fields: &mut Fields<'_>, problems: &mut Problems) -> Get {
    let given = fields.get("version");
    let version = given.and_then(|node| match &node.value {
        Value::Text(text) if text == "latest" || text == "every" || node.is_open() => {
            Some(node.to_json())
        }
        // Any other text is the newest version, as in Concourse.
        Value::Text(_) => {
            let problem =
                Problem::new(node.mark, format!("the version {} is the newest one", node.quoted()));
            problems.warn(problem.help("write `latest`, `every` or a version as a mapping"));
            None
        }
        Value::Map(_) => version(node, problems),
        _ => wrong(node, "`latest`, `every` or a version", problems),
    });
    Get {
        get: fields.required_text("get", problems),
        resource: fields.text("resource", problems),
        params: fields.object("params", problems),
        version,
        passed: fields.texts("passed", problems),
        trigger: fields.flag("trigger", problems),
    }
}

pub fn put(fields: &mut Fields<'_>, problems: &mut Problems) -> Put {
    Put {
        put: fields.required_text("put", problems),
        resource: fields.text("resource", problems),
        params: fields.object("params", problems),
        get_params: fields.object("get_params", problems),
        inputs: fields.get("inputs").and_then(|node| match &node.value {
            Value::Text(text) if text == "all" || text == "detect" || node.is_open() => {
                Some(node.to_json())
            }
            Value::List(names) => {
                let name = |node: &Rc<Node>| node.scalar();
                let names = names.iter().filter_map(name);
                Some(Json::List(names.map(|name| Json::Text(name.trim().to_owned())).collect()))
            }
            // Any other text is no artifact, as in Concourse.
            Value::Text(_) => {
                let message = format!("the `inputs` {} are none", node.quoted());
                let help = "write `all`, `detect` or a list of artifacts";
                problems.warn(Problem::new(node.mark, message).help(help));
                Some(Json::List(Vec::new()))
            }
            _ => wrong(node, "`all`, `detect` or a list", problems),
        }),
        no_get: fields.flag("no_get", problems),
    }
}

pub fn steps(fields: &mut Fields<'_>, name: &'static str, problems: &mut Problems) -> Vec<Step> {
    fields.list(name, problems, step)
}

pub fn in_parallel(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Action> {
    let node = fields.require("in_parallel", problems)?;
    let in_parallel = match &node.value {
        Value::List(nodes) => Parallel {
            steps: nodes.iter().filter_map(|node| step(node, problems)).collect(),
            ..Parallel::default()
        },
        _ => {
            let mut fields = Fields::new(node, "`in_parallel`", problems)?;
            let parallel = Parallel {
                steps: steps(&mut fields, "steps", problems),
                limit: fields.limit("limit", problems),
                fail_fast: fields.flag("fail_fast", problems),
            };
            fields.finish_loosely(problems);
            parallel
        }
    };
    Some(Action::InParallel(InParallel { in_parallel }))
}

pub fn tried(fields: &mut Fields<'_>, problems: &mut Problems) -> Try {
    let steps = match fields.require("try", problems) {
        Some(node) if matches!(node.value, Value::List(_)) => {
            items(node, problems).iter().filter_map(|node| step(node, problems)).collect()
        }
        Some(node) => step(node, problems).into_iter().collect(),
        None => Vec::new(),
    };
    Try { r#try: steps }
}

pub fn load_var(
    fields: &mut Fields<'_>,
    refusal: &mut Refusal,
    problems: &mut Problems,
) -> LoadVar {
    let format = fields.text("format", problems);
    let known = match format.as_deref() {
        Some("json") => Some(VarFormat::Json),
        Some("yaml") => Some(VarFormat::Yaml),
        Some("yml") => Some(VarFormat::Yml),
        Some("trim") => Some(VarFormat::Trim),
        Some("raw") => Some(VarFormat::Raw),
        _ => None,
    };
    if let Some(node) = fields.get("format")
        && known.is_none()
        && !node.missing
        && format.is_some_and(|format| !format.is_empty())
    {
        let known = "`json`, `yaml`, `yml`, `trim`, `raw`";
        let reason = format!("expected {known} as `format`, got {}", node.quoted());
        refusal.say(node.mark, reason, problems);
    }
    LoadVar {
        load_var: fields.required_text("load_var", problems),
        file: fields.required_text("file", problems),
        format: known,
        reveal: fields.flag("reveal", problems),
    }
}

pub fn set_pipeline(fields: &mut Fields<'_>, problems: &mut Problems) -> SetPipeline {
    problems.notice("`set_pipeline` only checks its file: nothing keeps pipelines here");
    SetPipeline {
        set_pipeline: fields.required_text("set_pipeline", problems),
        file: fields.required_text("file", problems),
        vars: fields.object("vars", problems),
        var_files: fields.texts("var_files", problems),
        team: fields.text("team", problems),
        instance_vars: fields.object("instance_vars", problems),
    }
}

pub fn run(fields: &mut Fields<'_>, refusal: &mut Refusal, problems: &mut Problems) -> RunMessage {
    let mark = fields.mark();
    refusal.say(mark, "prototypes cannot be run: write a task that does the same", problems);
    RunMessage {
        run: fields.required_text("run", problems),
        r#type: fields.required_text("type", problems),
        params: fields.object("params", problems),
        privileged: fields.flag("privileged", problems),
        container_limits: fields
            .get("container_limits")
            .and_then(|node| container_limits(node, problems)),
    }
}
