use std::sync::Arc;

use deno_core::{OpState, op2};
use serde::Serialize;

use crate::context::RunContext;

#[derive(Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct PipelineContext {
    run_id: String,
    pipeline_id: String,
    driver_name: String,
    /// Whether tasks run in container images.
    has_images: bool,
    args: Vec<String>,
}

/// The path of this program, which has types of resources built in.
#[op2]
#[string]
pub fn op_program() -> String {
    let program =
        std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    program.unwrap_or_else(|| "ci".to_owned())
}

/// The time by the clock of timeouts, in whole ms, of which timeouts are made.
#[op2(fast)]
pub fn op_run_clock(state: &mut OpState) -> f64 {
    state.borrow::<Arc<RunContext>>().tasks.clock().as_millis() as f64
}

/// What the pipeline may know of its own run.
#[op2]
#[serde]
pub fn op_pipeline_context(state: &mut OpState) -> PipelineContext {
    let context = state.borrow::<Arc<RunContext>>();
    PipelineContext {
        run_id: context.identity.run.clone(),
        pipeline_id: context.identity.pipeline.clone(),
        driver_name: context.driver_name.to_owned(),
        has_images: context.capabilities.images,
        args: context.given.args.clone(),
    }
}

/// The image of tasks that name none: empty where the driver has no images, `null` where it needs one.
#[op2]
#[string]
pub fn op_default_image(state: &mut OpState) -> Option<String> {
    let context = state.borrow::<Arc<RunContext>>();
    let image = context.given.image.clone();
    if context.capabilities.images { image } else { Some(image.unwrap_or_default()) }
}
