use std::sync::Arc;

use deno_core::{OpState, op2};

use crate::context::RunContext;
use crate::event::RunEvent;
use crate::task::Stream;

/// From how many bytes on the pipeline waits until the log has written a text.
const LARGE: usize = 1024 * 1024;

/// Writes to the log on behalf of `console`.
#[op2(fast)]
pub fn op_console_write(state: &mut OpState, #[string] stream: &str, #[string] text: &str) {
    let stream = if stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    let context = state.borrow::<Arc<RunContext>>();
    context.events.send_blocking(RunEvent::Console { stream, text: text.to_owned() });
    if text.len() > LARGE {
        // The channel is bounded by the number of events, not by what they hold.
        futures_executor::block_on(context.events.pause());
    }
}
