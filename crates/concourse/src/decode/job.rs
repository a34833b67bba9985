//! Jobs.

use std::rc::Rc;

use super::step::step;
use super::{execution, ignored_tags};
use crate::fields::Fields;
use crate::json::Json;
use crate::node::Node;
use crate::plan::{Job, Step};
use crate::problem::{Problem, Problems};

pub fn job(node: &Rc<Node>, problems: &mut Problems) -> Option<Job> {
    let mut fields = Fields::new(node, "a job", problems)?;
    if !fields.has("plan") {
        let problem = Problem::new(node.mark, "a job has no `plan`");
        problems.warn(problem.help("add `plan:` with steps: without them it does nothing"));
    }
    let mut hook = |name, problems: &mut Problems| -> Option<Box<Step>> {
        fields.get(name).and_then(|node| step(node, problems)).map(Box::new)
    };
    let [ensure, on_success, on_failure, on_error, on_abort] =
        ["ensure", "on_success", "on_failure", "on_error", "on_abort"]
            .map(|name| hook(name, problems));
    let job = Job {
        name: fields.required_text("name", problems),
        plan: fields.list("plan", problems, step),
        serial: fields.flag("serial", problems),
        serial_groups: fields.texts("serial_groups", problems),
        max_in_flight: fields.limit("max_in_flight", problems),
        ensure,
        on_success,
        on_failure,
        on_error,
        on_abort,
        assert: fields.get("assert").and_then(|node| execution(node, problems)),
        public: fields.flag("public", problems),
        build_log_retention: fields
            .get("build_log_retention")
            .and_then(|node| build_log_retention(node, problems)),
        old_name: fields.text("old_name", problems),
        interruptible: fields.flag("interruptible", problems),
        disable_manual_trigger: fields.flag("disable_manual_trigger", problems),
        disable_reruns: fields.flag("disable_reruns", problems),
        build_logs_to_retain: fields.limit("build_logs_to_retain", problems),
        tags: ignored_tags(&mut fields, problems),
        passed: Vec::new(),
    };
    fields.finish(problems);
    Some(job)
}

fn build_log_retention(node: &Node, problems: &mut Problems) -> Option<Json> {
    let mut fields = Fields::new(node, "`build_log_retention`", problems)?;
    for name in ["builds", "days", "minimum_succeeded_builds"] {
        fields.limit(name, problems);
    }
    fields.finish(problems);
    problems.notice("`build_log_retention` is ignored: there is no history of builds");
    Some(node.to_json())
}
