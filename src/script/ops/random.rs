use deno_core::op2;
use deno_error::JsErrorBox;

/// Fills the buffer with random bytes that are fit for keys.
#[op2(fast)]
pub fn op_random_fill(#[buffer] buffer: &mut [u8]) -> Result<(), JsErrorBox> {
    getrandom::fill(buffer)
        .map_err(|error| JsErrorBox::generic(format!("the system gives no random bytes: {error}")))
}

/// A random UUID, version 4.
#[op2]
#[string]
pub fn op_random_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
