//! Jobs.

use std::rc::Rc;

use super::step::step;
use super::{execution, notice};
use crate::fields::Fields;
use crate::node::Node;
use crate::plan::{Job, Step};
use crate::problem::{Problem, Problems};

pub fn job(node: &Rc<Node>, notices: &mut Vec<String>, problems: &mut Problems) -> Option<Job> {
    let mut fields = Fields::new(node, "a job", problems)?;
    fields.require("plan", problems);
    let name = fields.required_text("name", problems);
    let plan = fields.list("plan", problems, |node, problems| step(node, notices, problems));
    let mut hook = |name, problems: &mut Problems| -> Option<Box<Step>> {
        fields.get(name).and_then(|node| step(node, notices, problems)).map(Box::new)
    };
    let [ensure, on_success, on_failure, on_error, on_abort] =
        ["ensure", "on_success", "on_failure", "on_error", "on_abort"]
            .map(|name| hook(name, problems));
    let job = Job {
        name,
        plan,
        serial: fields.flag("serial", problems),
        serial_groups: fields.texts("serial_groups", problems),
        max_in_flight: fields.count("max_in_flight", problems),
        ensure,
        on_success,
        on_failure,
        on_error,
        on_abort,
        assert: fields.get("assert").and_then(|node| execution(node, problems)),
        public: fields.flag("public", problems),
        build_log_retention: fields.get("build_log_retention").map(|node| node.to_json()),
        passed: Vec::new(),
    };
    for ignored in ["old_name", "interruptible", "disable_manual_trigger", "build_logs_to_retain"] {
        if let Some(node) = fields.get(ignored)
            && node.scalar().is_none()
        {
            problems.add(Problem::new(node.mark, format!("`{ignored}` takes one value")));
        }
    }
    if job.build_log_retention.is_some() {
        notice(notices, "`build_log_retention` is ignored: there is no history of builds");
    }
    fields.finish(problems);
    Some(job)
}
