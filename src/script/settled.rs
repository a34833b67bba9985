//! What a pipeline leaves behind when it has settled, and what becomes of that.
//!
//! The pipeline has ended when its promise has settled and the event loop has nothing left: no call that
//! nobody awaited, no import, no timeout. Code behind any of these is part of the pipeline, and dropping it
//! would turn what never ran into a success. Intervals are unreferenced then, since they never end, and one
//! that is left is an error. So are the timers of `AbortSignal.timeout`, which bound something that is over.

use std::sync::Arc;
use std::time::Duration;

use deno_core::error::{CoreError, JsError};
use deno_core::{JsRuntime, PollEventLoopOptions, v8};
use deno_error::JsErrorBox;
use diagnostic::{Diagnostic, Place};

use super::entry::{Entry, called, list};
use super::error::{describe_js, no_disposals};
use super::ops;
use super::project::Project;
use crate::context::RunContext;

/// How long the user waits for something of no name without hearing of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the user hears then.
const NAMELESS: &str =
    "the pipeline has returned, and the run goes on until what it did not wait for has ended";

/// How many problems are shown with their line. The others are listed.
const MAX_SHOWN: usize = 8;

/// Waits until nothing of the pipeline is left that could go on, and returns what it did not look at
/// until then.
pub async fn problem(
    js: &mut JsRuntime,
    project: &Project,
    entry: &Entry,
) -> Result<Option<Diagnostic>, CoreError> {
    drain(js, project, entry).await?;
    match unread_failures(js, project, entry)? {
        Some(problem) => Ok(Some(problem)),
        None => intervals_left(js, project, entry),
    }
}

/// Goes on while calls of the pipeline are pending, or timeouts: what waits for them is a part of it. The
/// run's own timeout and signals end that from outside.
async fn drain(js: &mut JsRuntime, project: &Project, entry: &Entry) -> Result<(), CoreError> {
    {
        deno_core::scope!(scope, js);
        if called(scope, &entry.pipeline_settled, &[]).is_none() {
            return Err(JsErrorBox::generic("cannot tell what the pipeline has left").into());
        }
    }
    let state = js.op_state();
    let mut patience = Box::pin(tokio::time::sleep(PATIENCE));
    let mut is_told = false;
    std::future::poll_fn(|cx| {
        let turn = js.poll_event_loop(cx, PollEventLoopOptions::default());
        if turn.is_ready() || is_told {
            return turn;
        }
        let notice = match long_wait(js, project, entry) {
            Some(place) => Some(format!(
                "the pipeline has returned, and the run goes on until the timer has fired that was \
                 set at {place}; end it with `clearTimeout`"
            )),
            // What a task is doing shows in the log.
            None if state.borrow().borrow::<ops::Tasks>().is_empty()
                && patience.as_mut().poll(cx).is_ready() =>
            {
                Some(NAMELESS.to_owned())
            }
            None => None,
        };
        if let Some(notice) = notice {
            is_told = true;
            state.borrow().borrow::<Arc<RunContext>>().events.notice(notice);
        }
        turn
    })
    .await
}

/// Where the timer was set for which the run waits long, as `path:line:column`.
fn long_wait(js: &mut JsRuntime, project: &Project, entry: &Entry) -> Option<String> {
    deno_core::scope!(scope, js);
    let error = called(scope, &entry.long_wait, &[]).filter(|error| error.is_object())?;
    let error = JsError::from_v8_exception(scope, error);
    match describe_js(project, &error, &mut no_disposals, 0).place {
        Some(Place { path, line, column, .. }) => Some(format!("{path}:{line}:{column}")),
        None => Some("a place that is not known".to_owned()),
    }
}

/// The problem of a pipeline that has settled without looking at a failure.
fn unread_failures(
    js: &mut JsRuntime,
    project: &Project,
    entry: &Entry,
) -> Result<Option<Diagnostic>, CoreError> {
    deno_core::scope!(scope, js);
    let Some(pairs) = list(scope, &entry.unread_failures, &[]) else {
        return Err(JsErrorBox::generic("cannot tell which tasks have failed").into());
    };
    let mut failures = Vec::new();
    let mut have_results = true;
    for pair in pairs {
        let Ok(pair) = v8::Local::<v8::Array>::try_from(pair) else { continue };
        let Some(error) = pair.get_index(scope, 0) else { continue };
        have_results &= pair.get_index(scope, 1).is_some_and(|value| value.is_true());
        failures.push(described(&JsError::from_v8_exception(scope, error), project));
    }
    Ok(if have_results { unread_results(failures) } else { unread(failures) })
}

fn described(error: &JsError, project: &Project) -> Diagnostic {
    let mut problem = describe_js(project, error, &mut no_disposals, 0);
    problem.message = problem.message.trim_start_matches("Error: ").to_owned();
    problem
}

/// Of tasks that have ended.
fn unread_results(mut failures: Vec<Diagnostic>) -> Option<Diagnostic> {
    const HELP: &str = "read `result.code`, or pass `allowFailure: true`";
    if failures.len() <= 1 {
        let mut failure = failures.pop()?;
        failure.message.push_str(", and the pipeline never looked at its result");
        return Some(failure.help(HELP));
    }
    let count = failures.len();
    let heading =
        format!("{count} tasks did not succeed, and the pipeline never looked at their results");
    Some(together(heading, failures, "failure").help(HELP))
}

/// Of calls, some of which were rejected.
fn unread(mut failures: Vec<Diagnostic>) -> Option<Diagnostic> {
    const HELP: &str = "read the error's `message` where it is caught, or pass `allowFailure: true` to \
        the task";
    if failures.len() <= 1 {
        let mut failure = failures.pop()?;
        failure.message.insert_str(0, "the pipeline never looked at an error: ");
        return Some(failure.help(HELP));
    }
    let heading = format!("the pipeline never looked at {} failures", failures.len());
    Some(together(heading, failures, "failure").help(HELP))
}

/// The problem of a pipeline that has ended while intervals went on.
fn intervals_left(
    js: &mut JsRuntime,
    project: &Project,
    entry: &Entry,
) -> Result<Option<Diagnostic>, CoreError> {
    const HELP: &str = "stop it with `clearInterval`, or have the pipeline wait for what it does";
    deno_core::scope!(scope, js);
    let Some(errors) = list(scope, &entry.intervals_left, &[]) else {
        return Err(JsErrorBox::generic("cannot tell which intervals go on").into());
    };
    let mut left: Vec<Diagnostic> = errors
        .into_iter()
        .map(|error| described(&JsError::from_v8_exception(scope, error), project))
        .collect();
    if left.len() <= 1 {
        return Ok(left.pop().map(|interval| interval.help(HELP)));
    }
    let heading = format!("{} intervals go on after the pipeline has ended", left.len());
    Ok(Some(together(heading, left, "interval").help(HELP)))
}

/// Several problems as one.
fn together(mut heading: String, mut problems: Vec<Diagnostic>, label: &'static str) -> Diagnostic {
    let listed = problems.split_off(problems.len().min(MAX_SHOWN));
    for Diagnostic { message, place, .. } in listed {
        heading.push_str("\n    ");
        heading.push_str(&message);
        if let Some(Place { path, line, column, .. }) = place {
            heading.push_str(&format!(" ({path}:{line}:{column})"));
        }
    }
    for problem in &mut problems {
        problem.label = Some(label);
    }
    Diagnostic { causes: problems, ..Diagnostic::new(heading) }
}
