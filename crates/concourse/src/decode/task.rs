//! `task` steps.

use super::Refusal;
use super::config::{container_limits, task_config};
use crate::fields::{Fields, wrong};
use crate::node::Node;
use crate::plan::{Task, TaskAssert};
use crate::problem::{Problem, Problems};

/// The most copies of a task: each one is a process of its own at the same time.
const MOST_COPIES: u32 = 10_000;

pub fn task(
    fields: &mut Fields<'_>,
    node: &Node,
    refusal: &mut Refusal,
    problems: &mut Problems,
) -> Task {
    let config = fields.get("config");
    let decoded = config.and_then(|node| task_config(node, refusal, problems));
    let file = fields.text("file", problems);
    let uri = fields.text("uri", problems);
    if let (Some(uri), Some(node)) = (&uri, fields.get("uri"))
        && !uri.starts_with("file://")
        && !node.missing
    {
        problems.add(
            Problem::new(node.mark, "a `uri` that is no file")
                .help("write `uri: file://artifact/task.yml`"),
        );
    }
    // A field without a value is as good as none.
    let given = ["config", "file", "uri"].into_iter().filter(|name| fields.get(name).is_some());
    let message = match given.count() {
        0 => Some((
            "a task has no `config` and no `file`",
            "say what to run: `config: { run: { path: … } }`",
        )),
        1 => None,
        _ => Some(("a task has more than one of `config`, `file` and `uri`", "keep one of them")),
    };
    if let Some((message, help)) = message {
        problems.add(Problem::new(node.mark, message).help(help));
    }
    let image = fields.get("image");
    if let Some(image) = image
        && decoded.as_ref().is_some_and(|one| one.image.is_some() || one.image_resource.is_some())
    {
        let problem = Problem::new(image.mark, "the step has an `image`, and so has its `config`");
        problems.warn(problem.help("that of the step counts: remove one of the two"));
    }
    Task {
        task: fields.required_text("task", problems),
        config: decoded,
        file: file.or_else(|| uri.as_ref()?.strip_prefix("file://").map(str::to_owned)),
        uri,
        image: fields.text("image", problems),
        params: fields.scalars("params", problems),
        vars: fields.object("vars", problems),
        input_mapping: fields.names("input_mapping", problems),
        output_mapping: fields.names("output_mapping", problems),
        privileged: fields.flag("privileged", problems),
        hermetic: fields.flag("hermetic", problems),
        container_limits: fields
            .get("container_limits")
            .and_then(|node| container_limits(node, problems)),
        parallelism: fields.count_up_to(MOST_COPIES, "parallelism", problems),
        assert: fields.get("assert").and_then(|node| task_assert(node, problems)),
    }
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
