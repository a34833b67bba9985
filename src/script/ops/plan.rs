use std::sync::Arc;

use deno_core::{OpState, op2};
use serde::Deserialize;

use crate::context::RunContext;
use crate::event::{RunEvent, TaskStatus};

/// What a pipeline in YAML does beside its tasks.
#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanEvent {
    JobStarted {
        job: String,
    },
    JobFinished {
        job: String,
        #[cfg_attr(test, ts(type = "\"success\" | \"failure\" | \"error\" | \"abort\""))]
        status: TaskStatus,
        reasons: Vec<String>,
    },
    JobSkipped {
        job: String,
        reason: String,
    },
    StepStarted {
        job: String,
        /// Unique in the run.
        step: u32,
        /// The key of the step, such as `get`.
        action: String,
        name: String,
        /// Counted from 1.
        attempt: u32,
    },
    StepFinished {
        job: String,
        step: u32,
        #[cfg_attr(test, ts(type = "\"success\" | \"failure\" | \"error\" | \"abort\""))]
        status: TaskStatus,
    },
}

impl From<PlanEvent> for RunEvent {
    fn from(event: PlanEvent) -> Self {
        match event {
            PlanEvent::JobStarted { job } => Self::JobStarted { job },
            PlanEvent::JobFinished { job, status, reasons } => {
                Self::JobFinished { job, status, reasons }
            }
            PlanEvent::JobSkipped { job, reason } => Self::JobSkipped { job, reason },
            PlanEvent::StepStarted { job, step, action, name, attempt } => {
                Self::StepStarted { job, step: step.into(), action, name, attempt: attempt.into() }
            }
            PlanEvent::StepFinished { job, step, status } => {
                Self::StepFinished { job, step: step.into(), status }
            }
        }
    }
}

/// Reports what a pipeline in YAML does.
#[op2]
pub fn op_plan_event(state: &mut OpState, #[serde] event: PlanEvent) {
    state.borrow::<Arc<RunContext>>().events.send_blocking(event.into());
}

/// What is wrong with a pipeline in YAML that stands in a file of this name, as `ci check` tells it. `vars` are the
/// values of its variables as JSON.
#[op2]
#[string]
pub fn op_pipeline_check(
    #[string] name: &str,
    #[string] text: &str,
    #[string] vars: &str,
) -> Option<String> {
    let problems = concourse::check_text(name, text, &[("vars", vars)]).err()?;
    let shown: Vec<String> = problems.iter().map(|problem| problem.render(false)).collect();
    Some(shown.join("\n"))
}
